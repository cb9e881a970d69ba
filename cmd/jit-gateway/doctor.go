package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"strings"

	"jit-gateway/internal/command"
	"jit-gateway/internal/config"
	"jit-gateway/internal/display"
)

type doctorCmd struct {
	Targets bool `help:"Check every target, too." default:"true" negatable:""`
}

// Help is shown below the usage.
func (doctorCmd) Help() string {
	return "Looks at the configuration, at files and their modes, and asks the running gateway how it is. Changes nothing. Exit status 1 if something fails."
}

// Run looks at what can be seen from outside, then asks the gateway.
func (d doctorCmd) Run(ctx context.Context, cli *local, s *io3) error {
	failed := false
	say := func(level, what, text, fix string) {
		failed = failed || level == "fail"
		fmt.Fprintf(s.out, "%-4s  %s: %s\n", level, what, display.Line(text, 400))
		if level != "ok" && fix != "" {
			fmt.Fprintf(s.out, "      → %s\n", display.Line(fix, 600))
		}
	}
	c, err := config.Load(cli.Config)
	if err != nil {
		for _, l := range strings.Split(err.Error(), "\n") {
			say("fail", "Configuration", l, "")
		}
		return exitError(1)
	}
	say("ok", "Configuration", fmt.Sprintf("%s holds: %d targets, %d sources, %d rules.", c.Path, len(c.Targets), len(c.Sources), len(c.Rules)), "")
	if len(c.Rules) == 0 {
		say("warn", "Configuration", "There is no rule: nobody gets in.", "docs/rules.md has examples.")
	}
	lookAtFiles(c, say)
	lookAtSecrets(c, say)
	args := []string{"health"}
	if d.Targets {
		args = append(args, "--targets")
	}
	switch conn, err := net.Dial("unix", socketPath(c)); {
	case err == nil:
		conn.Close()
		if command.Call(ctx, socketPath(c), args, command.Stdio{In: strings.NewReader(""), Out: s.out, Err: s.err}) != 0 {
			failed = true
		}
	case errors.Is(err, fs.ErrPermission):
		say("fail", "Gateway", "Its socket is not for this user.", "Run doctor as root or as the gateway's user.")
	default:
		say("fail", "Gateway", "It does not run: nobody answers at "+socketPath(c)+".", "Start it: systemctl start jit-gateway, or jit-gateway --config "+c.Path+" serve; its log says why it ended.")
		lookAtPorts(c, say)
	}
	if failed {
		return exitError(1)
	}
	return nil
}

type sayFunc func(level, what, text, fix string)

// lookAtFiles finds keys that are missing or that others can read.
func lookAtFiles(c *config.Config, say sayFunc) {
	bad := 0
	tell := func(level, text, fix string) { bad++; say(level, "Files", text, fix) }
	keys := filepath.Join(c.DataDir, "keys")
	err := filepath.WalkDir(c.DataDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		mode := info.Mode()
		switch {
		case path == c.DataDir || path == keys:
			if mode.Perm()&0o077 != 0 {
				tell("fail", fmt.Sprintf("%s has mode %04o: others can look inside.", path, mode.Perm()), "chmod 700 "+path)
			}
		case d.IsDir() && filepath.Dir(path) == c.DataDir && path != keys:
			return fs.SkipDir // recordings and the like are private by the directory above
		case strings.HasPrefix(path, keys) && mode.IsRegular() && mode.Perm()&0o077 != 0 && !publicFile(path):
			tell("fail", fmt.Sprintf("%s has mode %04o: others can read a key.", path, mode.Perm()), "chmod 600 "+path+"; if somebody may have read it, rotate it (ca rotate)")
		}
		return nil
	})
	if err != nil {
		tell("fail", err.Error(), "`jit-gateway init` makes data directory and keys; run doctor as root or as the gateway's user.")
	}
	if _, err := loadCA(c); err != nil && bad == 0 {
		tell("fail", err.Error(), "Restore the key files from a backup; without them every host has to learn a new CA.")
	}
	if bad == 0 {
		say("ok", "Files", "Keys are there, and private.", "")
	}
}

// publicFile reports whether a file of the key directory is public.
func publicFile(path string) bool {
	switch filepath.Ext(path) {
	case ".crt", ".pub":
		return true
	}
	return filepath.Base(path) == "revoked_user_cas"
}

// lookAtSecrets resolves every reference of the targets, and shows no value.
func lookAtSecrets(c *config.Config, say sayFunc) {
	refs := map[string]string{}
	for _, t := range c.Targets {
		if t.SSH != nil && t.SSH.Key != "" {
			refs[t.SSH.Key] = t.Name
		}
		if t.Postgres == nil {
			continue
		}
		if t.Postgres.AdminPassword != "" {
			refs[t.Postgres.AdminPassword] = t.Name
		}
		for _, ref := range t.Postgres.Static {
			refs[ref] = t.Name
		}
	}
	n := 0
	for ref, target := range refs {
		if strings.HasPrefix(ref, "env:") || strings.HasPrefix(ref, "credential:") {
			continue // only the gateway's own process has them
		}
		if _, err := config.Secret(ref); err != nil {
			say("fail", "Secrets", target+": "+err.Error(), "Put the secret there, mode 0600, owned by the gateway's user.")
			continue
		}
		n++
	}
	if n > 0 {
		say("ok", "Secrets", fmt.Sprintf("%d files with secrets of targets can be read.", n), "")
	}
}

// lookAtPorts says who else may hold the gateway's ports.
func lookAtPorts(c *config.Config, say sayFunc) {
	for what, addr := range map[string]string{"ssh": c.Listen.SSH, "postgres": c.Listen.Postgres, "web": c.Listen.Web, "metrics": c.Listen.Metrics} {
		if addr == "" {
			continue
		}
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			say("fail", "Ports", fmt.Sprintf("%s, for %s: %v", addr, what, err), "Another program holds it (ss -ltnp), or it is below 1024 without CAP_NET_BIND_SERVICE.")
			continue
		}
		ln.Close()
	}
}
