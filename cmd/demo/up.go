package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"jit-gateway/internal/testenv/stack"
)

// setUp makes a fresh stack in dir and writes what outside clients need.
func setUp(ctx context.Context, dir string, detached bool) (*stack.Stack, error) {
	gateway, err := program()
	if err != nil {
		return nil, err
	}
	if err := clear(dir); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, setupLimit)
	defer cancel()
	s, err := stack.Up(ctx, stack.Options{Dir: dir, Gateway: gateway, Detached: detached,
		Progress: func(format string, args ...any) { fmt.Printf("  · "+format+"\n", args...) }})
	if err != nil {
		return nil, err
	}
	return s, writeEnv(s)
}

func up(ctx context.Context, dir string) error {
	if s, err := stack.Load(dir); err == nil && s.Running() {
		fmt.Println("The gateway is up already.")
		try(s)
		return nil
	}
	fmt.Printf("Setting up a gateway in %s\n", rel(dir))
	s, err := setUp(ctx, dir, true)
	if err != nil {
		return err
	}
	try(s)
	return nil
}

// try prints what a newcomer may do next.
func try(s *stack.Stack) {
	d := rel(s.Dir)
	fmt.Printf(`
The gateway is up. Alice is an engineer, bob approves, carol audits. Try:

  ssh -F %[1]s/ssh_config web01                    as alice: you are asked why, and for how long
  ssh -F %[1]s/ssh_config.bob jit-gateway          as bob: a prompt; say requests, approve R…
  %[1]s/grant web01 30                             or all of that at once; then ssh, scp, rsync pass silently
  export PGPASSWORD=$(%[1]s/grant orders 30)       a session token for the database, then:
  psql "host=127.0.0.1 port=%[2]d dbname=orders user=alice sslmode=verify-full sslrootcert=%[3]s"
  ssh -F %[1]s/ssh_config.carol jit-gateway sessions --all
  ssh -F %[1]s/ssh_config.bob jit-gateway web      a link to the page

Codes: %[1]s/code alice prints what her authenticator shows; each code counts once, so the next may
take 30 s. An app on your phone takes the secrets JIT_TOTP_ALICE and JIT_TOTP_BOB of %[1]s/env.
make down stops it.
`, d, s.PostgresPort, filepath.Join(s.Dir, "ca.pem"))
}

// writeEnv writes env, grant and code, for clients that know nothing of the demo.
func writeEnv(s *stack.Stack) error {
	vars := [][2]string{
		{"JIT_SSH_HOST", "127.0.0.1"},
		{"JIT_SSH_PORT", fmt.Sprint(s.SSHPort)},
		{"JIT_SSH_CONFIG", s.SSHConfig("alice")},
		{"JIT_USER", "alice"},
		{"JIT_KEY", s.Key("alice")},
		{"JIT_WEB_URL", fmt.Sprintf("https://localhost:%d", s.WebPort)},
		{"JIT_CA_FILE", filepath.Join(s.Dir, "ca.pem")},
		{"JIT_TOTP_ALICE", s.Secrets["alice"]},
		{"JIT_TOTP_BOB", s.Secrets["bob"]},
		{"JIT_GATEWAY_PID", fmt.Sprint(s.GatewayPID.ID)},
		{"PGHOST", "127.0.0.1"},
		{"PGPORT", fmt.Sprint(s.PostgresPort)},
		{"PGUSER", "alice"},
		{"PGDATABASE", "orders"},
		{"PGSSLROOTCERT", filepath.Join(s.Dir, "ca.pem")},
	}
	var b strings.Builder
	b.WriteString("# Where the demo's gateway is. In a shell: set -a; . .demo/env; set +a\n")
	for _, v := range vars {
		fmt.Fprintf(&b, "%s=%s\n", v[0], shellWord(v[1]))
	}
	if err := os.WriteFile(filepath.Join(s.Dir, "env"), []byte(b.String()), 0o600); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for name, usage := range map[string]string{
		"grant": "TARGET [MINUTES]: alice asks, bob approves, alice's code opens the window.\n" +
			"# TARGET may be login@target. For a database it prints the session token.",
		"code": "USER: what the user's authenticator shows now; each code counts once.",
	} {
		script := fmt.Sprintf("#!/bin/sh\n# %[1]s %[2]s\nJIT_DEMO_DIR=%[3]s exec %[4]s %[1]s \"$@\"\n", name, usage, shellWord(s.Dir), shellWord(self))
		if err := os.WriteFile(filepath.Join(s.Dir, name), []byte(script), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// shellWord quotes a word for a shell only if it needs it.
func shellWord(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=@,+") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
