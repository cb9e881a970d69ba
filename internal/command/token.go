package command

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"jit-gateway/approval"
	"jit-gateway/ca"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
	"jit-gateway/internal/inventory"
)

type tokenCmd struct {
	Target    string `arg:"" help:"Database, or role@database."`
	Login     string `help:"Role on the database." short:"l"`
	Pgpass    bool   `help:"Print a line for ~/.pgpass." xor:"form"`
	Service   bool   `help:"Print a section for ~/.pg_service.conf." xor:"form"`
	URL       bool   `name:"url" help:"Print a connection URL." xor:"form"`
	AnySource bool   `help:"Let the token work from any address, not only from this one."`
}

// Help is shown below the usage.
func (*tokenCmd) Help() string {
	return "Prints the token alone on stdout. Without a grant it asks first: questions go to stderr, answers come from stdin. " +
		"The token lasts as long as the grant, for any number of connections.\n\n" +
		"Example: PGPASSWORD=$(ssh jit-gateway token orders) psql \"host=jit-gateway dbname=orders user=$USER sslmode=verify-full\""
}

// tokenJSON is what --json prints.
type tokenJSON struct {
	Token    string `json:"token"`
	Host     string `json:"host"`
	Port     int    `json:"port"`
	Database string `json:"database"`
	User     string `json:"user"`
	Role     string `json:"role"`
	Grant    string `json:"grant"`
	Expires  string `json:"expires"`
}

func (t *tokenCmd) Run(c *call) error {
	if c.r.o.Public.PostgresPort == 0 {
		return failf("This gateway has no database listener.")
	}
	if role, name, ok := strings.Cut(t.Target, "@"); ok {
		t.Login, t.Target = role, name
	}
	if target, ok := c.r.o.Inventory.Target(inventory.Normalize(t.Target)); ok && target.Kind != inventory.Postgres {
		return failf("%s is not a database. Connect with: ssh %s", display.Line(target.Name, 64), display.Line(target.Name, 64))
	}
	adm, err := c.r.o.Dialogue.Admit(c.ctx, c.term, approval.AdmitInput{Caller: c.inv.Caller, Target: t.Target, Login: t.Login})
	if err != nil {
		return err
	}
	actor := c.actor()
	token, err := c.r.o.Tokens.Mint(c.ctx, adm, ca.TokenOptions{AnySource: t.AnySource, Actor: &actor})
	if err != nil {
		return err
	}
	p, db, user := c.r.o.Public, adm.Target().Name, adm.User().Name
	switch {
	case c.root.JSON:
		return c.json(tokenJSON{token, p.Host, p.PostgresPort, db, user, adm.Login(), adm.Grant().ID, adm.End().UTC().Format("2006-01-02T15:04:05Z")})
	case t.Pgpass:
		c.print("%s:%d:%s:%s:%s", pgpassEscape(p.Host), p.PostgresPort, pgpassEscape(db), pgpassEscape(user), token)
	case t.Service:
		c.print("[%s]\nhost=%s\nport=%d\ndbname=%s\nuser=%s\npassword=%s\nsslmode=verify-full", db, p.Host, p.PostgresPort, db, user, token)
		if p.CAFile != "" {
			c.print("sslrootcert=%s", p.CAFile)
		}
	case t.URL:
		q := url.Values{"sslmode": {"verify-full"}}
		if p.CAFile != "" {
			q.Set("sslrootcert", p.CAFile)
		}
		u := url.URL{Scheme: "postgresql", User: url.UserPassword(user, token), Host: fmt.Sprintf("%s:%d", p.Host, p.PostgresPort), Path: "/" + db, RawQuery: q.Encode()}
		c.print("%s", u.String())
	default:
		c.print("%s", token)
	}
	return nil
}

// pgpassEscape: libpq's password file escapes colons and backslashes.
func pgpassEscape(s string) string { return strings.NewReplacer(`\`, `\\`, `:`, `\:`).Replace(s) }

type certCmd struct {
	Target string `arg:"" help:"Target, or login@target."`
	Login  string `help:"Login on the target." short:"l"`
	Direct bool   `help:"For the host itself, past the gateway, for two minutes: where a rule says direct."`
}

// Help is shown below the usage.
func (*certCmd) Help() string {
	return "Reads a public key from stdin and prints a certificate for it.\n\nExample: ssh jit-gateway cert web01 < key.pub > key-cert.pub\n\n" +
		"Such a certificate is good at the gateway until the grant ends. With --direct it is good on the host alone, to log in from here within two minutes: what is done there is not recorded, and does not end with the grant."
}

func (t *certCmd) Run(c *call) error {
	if login, name, ok := strings.Cut(t.Target, "@"); ok {
		t.Login, t.Target = login, name
	}
	raw, err := c.readAll(16<<10, "A public key")
	if err != nil {
		return err
	}
	key, err := parseKey(raw)
	if err != nil {
		return err
	}
	// stdin was the key: nobody is left to ask.
	adm, err := c.r.o.Dialogue.Admit(c.ctx, nil, approval.AdmitInput{Caller: c.inv.Caller, Target: t.Target, Login: t.Login})
	if err != nil {
		return err
	}
	sign := c.r.o.UserCert
	if t.Direct {
		sign = c.directCert
	}
	cert, err := sign(c.ctx, adm, key)
	if err != nil {
		return err
	}
	c.print("%s", strings.TrimSpace(string(ssh.MarshalAuthorizedKey(cert))))
	return nil
}

// directCert signs a key for the host itself. That it will is in the log
// before, and what it signed before anybody has it.
func (c *call) directCert(ctx context.Context, adm approval.Admission, key ssh.PublicKey) (*ssh.Certificate, error) {
	detail := map[string]string{"kind": "direct_cert", "fingerprint": ssh.FingerprintSHA256(key), "source": adm.Source()}
	ev := audit.Event{Type: audit.CredentialIntended, Outcome: audit.Success, Actor: c.actor(), User: adm.User().ID, Grant: adm.Grant().ID, Target: adm.Target().Name, Detail: detail}
	if _, err := c.r.o.Log.Append(ctx, ev); err != nil {
		return nil, fmt.Errorf("audit a certificate: %w", err)
	}
	cert, err := c.r.o.Authority.DirectCert(adm, key)
	if err != nil {
		ev.Type, ev.Outcome, ev.Reason = audit.CommandRefused, audit.Denied, err.Error()
		if _, lerr := c.r.o.Log.Append(ctx, ev); lerr != nil {
			c.r.o.Logger.Error("audit a refused certificate", "error", lerr)
		}
		return nil, failf("No certificate for the host: %v.", err)
	}
	ev.Type, ev.Detail = audit.CredentialMinted, maps.Clone(detail)
	ev.Detail["serial"], ev.Detail["name"] = strconv.FormatUint(cert.Serial, 10), cert.ValidPrincipals[0]
	ev.Detail["valid_until"] = time.Unix(int64(cert.ValidBefore), 0).UTC().Format(time.RFC3339)
	if _, err := c.r.o.Log.Append(ctx, ev); err != nil {
		return nil, fmt.Errorf("audit a certificate: %w", err)
	}
	return cert, nil
}

// parseKey reads one public key in authorized_keys form, without options.
func parseKey(raw []byte) (ssh.PublicKey, error) {
	key, _, options, _, err := ssh.ParseAuthorizedKey(bytes.TrimSpace(raw))
	switch {
	case err != nil:
		return nil, failf("That is not a public key as in id_ed25519.pub.")
	case len(options) > 0:
		return nil, failf("Options before the key are not accepted: give the key alone.")
	}
	if _, isCert := key.(*ssh.Certificate); isCert {
		return nil, failf("That is a certificate; give the plain public key.")
	}
	return key, nil
}
