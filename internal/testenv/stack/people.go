package stack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"jit-gateway/internal/testenv"
)

// SSHConfig is the path of a user's ssh_config.
func (s *Stack) SSHConfig(user string) string {
	if user == s.firstUser() {
		return s.path("ssh_config")
	}
	return s.path("ssh_config." + user)
}

func (s *Stack) firstUser() string {
	if len(s.opts.Users) > 0 {
		return s.opts.Users[0].Name
	}
	return DefaultUsers[0].Name
}

// Key is the path of a user's private key.
func (s *Stack) Key(user string) string { return s.path("keys/" + user) }

// SSH is an ssh command line of the user's.
func (s *Stack) SSH(ctx context.Context, user string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "ssh", append([]string{"-F", s.SSHConfig(user)}, args...)...)
}

// Run runs an ssh command line of the user's with what is typed on stdin, and
// returns its stdout.
func (s *Stack) Run(ctx context.Context, user, stdin string, args ...string) (string, error) {
	cmd := s.SSH(ctx, user, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: ssh %s: %w\n%s", user, strings.Join(args, " "), err, errs.String())
	}
	return out.String(), nil
}

// WriteSSHConfig writes the configuration of somebody who enrols otherwise.
func (s *Stack) WriteSSHConfig(user string) error { return s.writeSSHConfig(user) }

// writeSSHConfig writes what `ssh jit-gateway config` prints, with this
// machine's key files.
func (s *Stack) writeSSHConfig(user string) error {
	text := fmt.Sprintf(`# %[1]s's way to the gateway and through it: ssh -F %[2]s web01
Host jit-gateway
    HostName 127.0.0.1
    Port %[3]d
    User %[1]s
    HostKeyAlias jit-gateway

Host web01 web02
    User deploy
    ProxyJump jit-gateway

Host jit-gateway web01 web02
    IdentityFile %[4]s
    IdentitiesOnly yes
    UserKnownHostsFile %[5]s
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    ServerAliveInterval 15
`, user, s.SSHConfig(user), s.SSHPort, s.Key(user), s.path("known_hosts"))
	return os.WriteFile(s.SSHConfig(user), []byte(text), 0o644)
}

var secretLine = regexp.MustCompile(`(?m)^Secret: ([A-Z2-7]+)`)

// Enroll gives a further user a key and a second factor; without a group it
// is somebody who has an account already.
func (s *Stack) Enroll(ctx context.Context, u User) error { return s.enroll(ctx, u) }

// enroll takes the user from nothing to a key and a second factor, through
// the one way there is: a one-time code, and ssh.
func (s *Stack) enroll(ctx context.Context, u User) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if _, err := testenv.WriteKey(s.Key(u.Name), u.Name+"@demo"); err != nil {
		return err
	}
	if err := s.writeSSHConfig(u.Name); err != nil {
		return err
	}
	args := []string{"user", "invite", u.Name, "--json"}
	if u.Group != "" {
		args = append(args, "--group", u.Group)
	}
	out, err := s.Local(ctx, args...)
	if err != nil {
		return err
	}
	var invite struct {
		Code string `json:"code"`
	}
	if err := json.Unmarshal([]byte(out), &invite); err != nil || invite.Code == "" {
		return fmt.Errorf("read the invite %q: %v", out, err)
	}
	cmd := s.SSH(ctx, u.Name, "jit-gateway", "enroll", invite.Code)
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	errs, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	var said bytes.Buffer
	buf := make([]byte, 4096)
	for answered := false; ; {
		n, err := errs.Read(buf)
		said.Write(buf[:n])
		if m := secretLine.FindSubmatch(said.Bytes()); m != nil && !answered && bytes.Contains(said.Bytes(), []byte("shows now: ")) {
			s.Secrets[u.Name] = string(m[1])
			code, err := s.Code(u.Name)
			if err != nil {
				return errors.Join(err, cmd.Cancel())
			}
			if _, err := io.WriteString(in, code+"\n"); err != nil {
				return err
			}
			in.Close()
			answered = true
		}
		if err != nil {
			break
		}
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("ssh jit-gateway enroll: %w\n%s", err, said.String())
	}
	return s.Save()
}
