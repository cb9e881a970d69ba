package stack

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"jit-gateway/internal/testenv"
)

// DefaultRules lets engineers ask for everything up to 8 h, and approvers approve.
const DefaultRules = `
  - name: web
    groups: [engineers]
    labels: {role: web}
    max_duration: 8h
    approve:
      - groups: [approvers]
    channels:
      shell: true
      exec: true
      sftp: both
      agent: true
      env: [LANG, "LC_*"]
      local_forward: ["*"]
      remote_forward: ["*"]
  - name: orders
    groups: [engineers]
    targets: [orders]
    max_duration: 8h
    approve:
      - groups: [approvers]
    tunnel: true
`

// Config is the path of the gateway's configuration.
func (s *Stack) Config() string { return s.path("jit-gateway.yaml") }

// LogFile is what the gateway logs to.
func (s *Stack) LogFile() string { return s.path("gateway.log") }

// install writes the configuration and runs init.
func (s *Stack) install(ctx context.Context) error {
	for _, p := range []*int{&s.SSHPort, &s.PostgresPort, &s.WebPort, &s.MetricsPort} {
		var err error
		if *p, err = testenv.FreePort(); err != nil {
			return err
		}
	}
	config := s.config()
	if s.opts.Extra != nil {
		extra, err := s.opts.Extra(s)
		if err != nil {
			return err
		}
		config += "\n" + extra
	}
	if err := os.WriteFile(s.Config(), []byte(config), 0o644); err != nil {
		return err
	}
	out, err := s.Local(ctx, "init", "--data", s.path("gateway"), "--admin", "dana")
	if err != nil {
		return fmt.Errorf("jit-gateway init: %w\n%s", err, out)
	}
	return nil
}

func (s *Stack) config() string {
	var b strings.Builder
	fmt.Fprintf(&b, `# Written by the demo: a gateway on loopback. See configs/ for real ones.
name: jit-gateway
data_dir: gateway
listen:
  ssh: "127.0.0.1:%d"
  postgres: "127.0.0.1:%d"
  web: "127.0.0.1:%d"
  metrics: "127.0.0.1:%d"
public:
  host: 127.0.0.1
  ssh_port: %d
  postgres_port: %d
  url: https://localhost:%d
roles:
  admins: [admins]
  auditors: [auditors]
limits: %s
tls: {names: [jit-gateway, localhost, 127.0.0.1]}
`, s.SSHPort, s.PostgresPort, s.WebPort, s.MetricsPort, s.SSHPort, s.PostgresPort, s.WebPort, s.opts.Limits)
	b.WriteString("targets:\n")
	for _, h := range s.hosts {
		fmt.Fprintf(&b, "  - name: %s\n    labels: {role: web}\n    ssh:\n      address: %s\n      logins: [%s]\n      host_keys: [%q]\n",
			h.Name, h.Addr, strings.Join(h.Logins, ", "), testenv.AuthorizedKey(h.HostKey))
	}
	if s.db != nil {
		tls := "ca_file: " + s.db.CAFile
		if s.opts.PlainDatabase {
			tls = "tls: disable"
		}
		fmt.Fprintf(&b, "  - name: orders\n    postgres:\n      address: %s\n      database: orders\n      roles: [orders_ro, orders_rw]\n"+
			"      identity: dynamic_role\n      %s\n      admin_user: jit_gateway\n      admin_password: file:%s\n",
			s.db.Addr, tls, s.path("orders.password"))
	}
	if len(s.hosts) == 0 && s.db == nil {
		b.WriteString("  []\n")
	}
	b.WriteString("rules:" + s.opts.Rules)
	return b.String()
}

// StartGateway starts the gateway, again after StopGateway or KillGateway, and
// returns once it is ready.
func (s *Stack) StartGateway(ctx context.Context) error {
	s.opts.Progress("the gateway starts")
	p, err := testenv.Command{Name: "jit-gateway", Args: []string{s.Program, "--config", s.Config(), "serve"},
		Env: s.opts.Env, Dir: s.Dir, Log: s.LogFile(), Detached: s.opts.Detached}.Start()
	if err != nil {
		return err
	}
	s.proc = p
	if s.GatewayPID, err = testenv.FindPID(p.PID); err != nil {
		return fmt.Errorf("jit-gateway ended at once:\n%s", s.log())
	}
	if err := s.Save(); err != nil {
		return err
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/readyz", s.MetricsPort))
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("it is not ready: %s", resp.Status)
		}
		select {
		case <-p.Done():
			return fmt.Errorf("jit-gateway ended (%v):\n%s", p.Err(), s.log())
		case <-ctx.Done():
			return ctx.Err()
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("wait for the gateway: %w\n%s", err, s.log())
		}
	}
}

func (s *Stack) log() string {
	b, _ := os.ReadFile(s.LogFile())
	return string(b[max(0, len(b)-4000):])
}

// Local runs an administrator's command on this machine.
func (s *Stack) Local(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, s.Program, append([]string{"--config", s.Config()}, args...)...)
	cmd.Env = append(os.Environ(), s.opts.Env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("jit-gateway %s: %w\n%s", strings.Join(args, " "), err, errs.String())
	}
	return out.String(), nil
}

// trust tells the hosts whom to trust, and writes what people's clients need.
func (s *Stack) trust(ctx context.Context) error {
	out, err := s.Local(ctx, "ca", "show", "--json")
	if err != nil {
		return err
	}
	var ca struct {
		UserCA      string   `json:"user_ca"`
		HostCA      string   `json:"host_ca"`
		GatewayKeys []string `json:"gateway_keys"`
		PageCA      string   `json:"page_ca"`
	}
	if err := json.Unmarshal([]byte(out), &ca); err != nil {
		return fmt.Errorf("read what ca show printed: %w", err)
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(ca.UserCA))
	if err != nil {
		return fmt.Errorf("read the user CA: %w", err)
	}
	for _, h := range s.hosts {
		if err := h.TrustUserCAs(key); err != nil {
			return err
		}
	}
	var known strings.Builder
	for _, k := range ca.GatewayKeys {
		fmt.Fprintf(&known, "jit-gateway,[127.0.0.1]:%d %s\n", s.SSHPort, k)
	}
	fmt.Fprintf(&known, "@cert-authority web01,web02,orders %s\n", ca.HostCA)
	if err := os.WriteFile(s.path("known_hosts"), []byte(known.String()), 0o644); err != nil {
		return err
	}
	return os.WriteFile(s.path("ca.pem"), []byte(ca.PageCA), 0o644)
}
