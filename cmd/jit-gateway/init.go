package main

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"jit-gateway/ca"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/command"
	"jit-gateway/internal/config"
	"jit-gateway/internal/id"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/seal"
)

//go:embed config.tmpl.yaml
var configTemplate string

const inviteLifetime = 24 * time.Hour

type initCmd struct {
	Data  string `help:"Data directory: store, keys, recordings. Created with mode 0700." default:"/var/lib/jit-gateway" type:"path"`
	Name  string `help:"Host name that people use for the gateway." default:"jit-gateway"`
	Admin string `help:"Name of the first administrator; your own login name by default."`
	Force bool   `help:"Write the configuration even if one is there. Keys and store are never overwritten."`
}

// Run makes everything that a first start needs. It can be run again after a
// failure: what exists is kept.
func (i initCmd) Run(ctx context.Context, cli *local, s *io3) error {
	admin := i.Admin
	if admin == "" {
		u, err := user.Current()
		if err != nil {
			return fmt.Errorf("find your login name: %w; give --admin", err)
		}
		admin = strings.ToLower(cmp.Or(os.Getenv("SUDO_USER"), u.Username))
	}
	if err := identity.ValidName(admin); err != nil {
		return fmt.Errorf("%w; name the first administrator with --admin", err)
	}
	keys := filepath.Join(i.Data, "keys")
	for _, dir := range []string{i.Data, keys, filepath.Join(i.Data, "recordings")} {
		if err := privateDir(dir); err != nil {
			return err
		}
	}
	authority, err := initKeys(keys, i.Name)
	if err != nil {
		return err
	}
	if err := i.writeConfig(cli.Config); err != nil {
		return err
	}
	c, err := config.Load(cli.Config)
	if err != nil {
		return err
	}
	code, err := firstAdmin(ctx, c, admin)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "Data directory  %s\nConfiguration   %s\n\n", i.Data, cli.Config)
	if code == "" {
		fmt.Fprintf(s.out, "There are users already; `jit-gateway user invite NAME` makes another invite.\n")
		return nil
	}
	fmt.Fprintf(s.out, "First administrator %s, invite good for 24 h. Start the gateway, then enrol a key and a second factor:\n\n"+
		"  jit-gateway --config %s serve\n  %s\n\nssh then shows the gateway's key, which must be one of these:\n  %s\n",
		admin, cli.Config, command.EnrollCommand(public(c), code), strings.Join(command.GatewayKeys(authority), "\n  "))
	return nil
}

func privateDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("create data directory: %w", err)
	}
	st, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if st.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s has mode %04o: others could read keys and recordings; run chmod 700 %s", dir, st.Mode().Perm(), dir)
	}
	return nil
}

// initKeys makes the certificate authorities, the sealing key and the audit
// log's key, each unless it is there.
func initKeys(dir, name string) (*ca.Authority, error) {
	authorities := filepath.Join(dir, "ca")
	if _, err := os.Stat(authorities); errors.Is(err, fs.ErrNotExist) {
		if err := ca.Init(authorities); err != nil {
			return nil, err
		}
	}
	authority, err := ca.Load(authorities, ca.Options{Now: now})
	if err != nil {
		return nil, err
	}
	if err := seal.CreateKey(filepath.Join(dir, "seal.key")); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return authority, initAuditKey(filepath.Join(dir, "audit.key"), filepath.Join(dir, "audit.pub"), name)
}

// initAuditKey writes the public half first: the key without it would look
// like a finished pair to the next init.
func initAuditKey(path, public, name string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	skey, vkey, err := audit.GenerateKey(name)
	if err != nil {
		return err
	}
	if err := os.WriteFile(public, []byte(vkey+"\n"), 0o644); err != nil {
		return fmt.Errorf("write the audit log's public key: %w", err)
	}
	if err := os.WriteFile(path, []byte(skey+"\n"), 0o600); err != nil {
		return fmt.Errorf("write the audit log's key: %w", err)
	}
	return nil
}

func (i initCmd) writeConfig(path string) error {
	if _, err := os.Stat(path); err == nil && !i.Force {
		return nil
	}
	t, err := template.New("config").Parse(configTemplate)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, i); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o640); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return nil
}

// firstAdmin adds the administrator and returns their invite, or "" when the
// store has users.
func firstAdmin(ctx context.Context, c *config.Config, name string) (string, error) {
	db, err := openStore(ctx, c, nil)
	if err != nil {
		return "", err
	}
	defer db.close()
	users, err := db.Users(ctx)
	if err != nil || len(users) > 0 {
		return "", err
	}
	now := time.Now().UTC()
	u := identity.User{ID: id.New(id.User), Name: name, Kind: identity.Human, State: identity.Active, Groups: c.Roles.Admins, CreatedAt: now}
	actor := audit.Actor{Name: "local-admin", Via: "init"}
	err = db.CreateUser(ctx, u, audit.Event{Type: audit.UserAdded, Outcome: audit.Success, Actor: actor, User: u.ID,
		Detail: map[string]string{"name": name, "groups": strings.Join(u.Groups, ",")}})
	if err != nil {
		return "", err
	}
	code, inv := identity.NewInvite(u.ID, "local-admin", now, inviteLifetime)
	err = db.CreateInvite(ctx, inv, audit.Event{Type: audit.UserInvited, Outcome: audit.Success, Actor: actor, User: u.ID})
	return code, err
}
