package main

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"

	"golang.org/x/crypto/ssh"

	"jit-gateway/ca"
	"jit-gateway/internal/config"
)

// loadCA reads the certificate authorities.
func loadCA(c *config.Config) (*ca.Authority, error) {
	pass := ""
	if c.CAPassphrase != "" {
		var err error
		if pass, err = config.Secret(c.CAPassphrase); err != nil {
			return nil, fmt.Errorf("ca_passphrase: %w", err)
		}
	}
	return ca.Load(caDir(c), ca.Options{Now: now, Passphrase: pass})
}

func caDir(c *config.Config) string { return filepath.Join(c.DataDir, "keys", "ca") }

// reloadKeys reads the key directory again, and holds it to what the other
// gateways have. What does not hold changes nothing.
func (g *gateway) reloadKeys(ctx context.Context) error {
	next, err := loadCA(g.conf)
	if err != nil {
		return err
	}
	if err := g.agreeOnCAs(ctx, next); err != nil {
		return err
	}
	return g.authority.Reload()
}

// published adds what hosts fetch, without signing in, to the page's
// listener: the user CAs and the list of revoked keys. All of it is public.
func published(a *ca.Authority, page http.Handler) http.Handler {
	m := http.NewServeMux()
	m.Handle("/", page)
	m.HandleFunc("GET /ca/revoked.krl", func(w http.ResponseWriter, r *http.Request) {
		krl, err := a.KRL(nil)
		if err != nil {
			http.Error(w, "the list cannot be made now", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Cache-Control", "no-cache")
		_, _ = w.Write(krl) // a host that went away fetches it again
	})
	m.HandleFunc("GET /ca/user_ca.pub", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-cache")
		for _, k := range a.UserCAKeys() {
			_, _ = w.Write(ssh.MarshalAuthorizedKey(k))
		}
	})
	return m
}

type sealKeysCmd struct {
	Old string `help:"Reference to the passphrase that the files have now, if it changes." placeholder:"REF"`
}

// Help is shown below the usage.
func (sealKeysCmd) Help() string {
	return "Seals the key files of the certificate authorities under the passphrase that ca_passphrase in the configuration names (file:, env:, credential:). Stop the gateway first. An interrupted run is run again.\n\n" +
		"Example: systemd-creds encrypt … /etc/credstore.encrypted/jit-ca; ca_passphrase: credential:jit-ca"
}

func (k sealKeysCmd) Run(cli *local, s *io3) error {
	c, err := config.Load(cli.Config)
	if err != nil {
		return err
	}
	if c.CAPassphrase == "" {
		return fmt.Errorf("%s has no ca_passphrase: it says where the passphrase is kept", cli.Config)
	}
	pass, err := config.Secret(c.CAPassphrase)
	if err != nil {
		return err
	}
	old := ""
	if k.Old != "" {
		if old, err = config.Secret(k.Old); err != nil {
			return err
		}
	}
	n, err := ca.Encrypt(caDir(c), old, pass)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "%d key files are sealed. Without the passphrase nobody can use them, you included: keep a copy of it elsewhere.\n", n)
	return err
}
