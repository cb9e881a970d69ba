package bench

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"jit-gateway/internal/testenv"
	"jit-gateway/internal/testenv/stack"
)

// sshWorld is one target host and three ways to it, each with a Host block of
// its own name in one ssh_config.
type sshWorld struct {
	*place
	*runner
	config                string
	blob, sink            string
	direct, jump, gateway *path
}

// SSH measures the SSH cells and prints their table.
func SSH(ctx context.Context, o Options) (err error) {
	r := &runner{Options: o, began: time.Now()}
	before := load()
	w, err := newSSHWorld(ctx, r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	for _, p := range []*path{w.direct, w.jump, w.gateway} { // a path that does not work shows here, in words
		if err := w.ssh(ctx, p, nil, "true"); err != nil {
			return fmt.Errorf("the path %s does not work: %w", p.name, err)
		}
	}
	if err := r.measure(ctx, w.cells()); err != nil {
		return err
	}
	r.heading(fmt.Sprintf("SSH, default ciphers, %d MiB", o.Size), before,
		[][]string{{o.Gateway, "version"}, {"ssh", "-V"}, {"go", "version"}})
	write(o.Out, [3]string{w.direct.name, w.jump.name, w.gateway.name}, r.result)
	r.footing()
	return r.verdict()
}

func newSSHWorld(ctx context.Context, r *runner) (w *sshWorld, err error) {
	p, err := newPlace(ctx, r, stack.Options{NoDatabase: true, SSHDConfig: []string{"LogLevel ERROR", "MaxStartups 5000:30:5000"}})
	if err != nil {
		return nil, err
	}
	w = &sshWorld{place: p, runner: r, config: filepath.Join(p.dir, "ssh_config")}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	if _, err := p.stack.Grant(ctx, "alice", "bob", "deploy@web01", grantFor, "benchmark"); err != nil {
		return nil, err
	}
	key, err := publicKey(p.stack.Key("alice") + ".pub")
	if err != nil {
		return nil, err
	}
	// Without a gateway people have standing access: a key on the host, and on
	// the jump host.
	target := p.stack.Host("web01")
	if err := os.WriteFile(filepath.Join(target.Dir, "authorized_keys", "deploy"), []byte(testenv.AuthorizedKey(key)+"\n"), 0o644); err != nil {
		return nil, err
	}
	jump, err := testenv.StartSSHD(ctx, testenv.SSHDOptions{Dir: filepath.Join(p.stack.Backing, "jump"), Name: "jump", Logins: []string{"deploy"},
		AuthorizedKeys: map[string][]ssh.PublicKey{"deploy": {key}}, Config: []string{"LogLevel ERROR", "MaxStartups 5000:30:5000"}})
	if err != nil {
		return nil, err
	}
	p.undo = append(p.undo, jump.Stop)
	w.direct = &path{name: "direct"}
	w.jump = &path{name: "ssh -J", pids: []int{jump.PID()}}
	w.gateway = &path{name: "gateway", pids: []int{p.stack.GatewayPID.ID}, cpu: processCPU(p.stack.GatewayPID.ID)}
	meter, leave := group("jump", jump.PID())
	p.undo = append(p.undo[:len(p.undo)-1], func() error { err := jump.Stop(); time.Sleep(200 * time.Millisecond); leave(); return err })
	if w.jump.cpu = meter; meter == nil {
		r.note("the jump host's CPU time is not known: that needs root and a control group")
	}
	if err := w.writeConfig(target, jump); err != nil {
		return nil, err
	}
	return w, w.writeData()
}

// host is the name of a path's Host block.
func (w *sshWorld) host(p *path) string {
	switch p {
	case w.direct:
		return "direct"
	case w.jump:
		return "jumped"
	}
	return "web01"
}

// writeConfig writes one ssh_config for all paths: alice's, as the gateway
// printed it, and blocks with the same options for the other two.
func (w *sshWorld) writeConfig(target, jump *testenv.SSHD) error {
	known := filepath.Join(w.dir, "known_hosts")
	if err := os.WriteFile(known, []byte(target.KnownHost()+"\n"+jump.KnownHost()+"\n"), 0o644); err != nil {
		return err
	}
	return os.WriteFile(w.config, []byte(fmt.Sprintf(`Host direct
    Port %[1]d
Host jumped
    Port %[1]d
    ProxyJump jump
Host jump
    Port %[2]d
Host direct jumped jump
    HostName 127.0.0.1
    User deploy
    IdentityFile %[3]s
    IdentitiesOnly yes
    UserKnownHostsFile %[4]s
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    ServerAliveInterval 15
Host *
    BatchMode yes
    LogLevel ERROR
    Include %[5]s
`, target.Port, jump.Port, w.stack.Key("alice"), known, w.stack.SSHConfig("alice"))), 0o644)
}

// writeData makes what is sent (random, so that nothing can compress it) and
// where sftp puts it.
func (w *sshWorld) writeData() error {
	dir, err := w.memoryDir()
	if err != nil {
		return err
	}
	w.blob, w.sink = filepath.Join(dir, "blob"), filepath.Join(dir, "sink")
	f, err := os.OpenFile(w.blob, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	buf := make([]byte, 1<<20)
	for range w.Size {
		rand.Read(buf)
		if _, err := f.Write(buf); err != nil {
			return fmt.Errorf("write %d MiB to send: %w", w.Size, err)
		}
	}
	if err := os.WriteFile(w.sink, nil, 0o666); err != nil {
		return err
	}
	return os.Chmod(w.sink, 0o666)
}

// ssh runs a command over a path with a file, or nothing, as its input.
func (w *sshWorld) ssh(ctx context.Context, p *path, in *os.File, command ...string) error {
	cmd := exec.CommandContext(ctx, "ssh", append([]string{"-F", w.config, w.host(p)}, command...)...)
	if in != nil {
		cmd.Stdin = in
	}
	return run(cmd)
}

// run runs a client whose output is of no interest, unless it fails.
func run(cmd *exec.Cmd) error {
	var errs bytes.Buffer
	cmd.Stderr = &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err, strings.TrimSpace(errs.String()))
	}
	return nil
}

func publicKey(path string) (ssh.PublicKey, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(b)
	return key, err
}
