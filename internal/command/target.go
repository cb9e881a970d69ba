package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
	"jit-gateway/internal/inventory"
)

type targetCmd struct {
	List   targetListCmd   `cmd:"" help:"List targets and how they are reached."`
	Add    targetAddCmd    `cmd:"" help:"Add or change a target that is kept in the store."`
	Check  targetCheckCmd  `cmd:"" help:"Tell exactly what is wrong with targets." needs:"check"`
	Import targetImportCmd `cmd:"" help:"Add or change many targets from stdin."`
	Remove targetRemoveCmd `cmd:"" help:"Remove targets that are kept in the store."`
}

type targetListCmd struct{}

func (*targetListCmd) Run(c *call) error {
	list := c.r.o.Inventory.Targets()
	if c.root.JSON {
		return c.json(append([]inventory.Target{}, list...))
	}
	if len(list) == 0 {
		c.say("No targets. Add one: %starget add NAME --ssh HOST --login LOGIN --host-key KEY", c.prefix())
		return nil
	}
	t := newTable("TARGET", "KIND", "ADDRESS", "LOGINS", "LABELS", "FROM")
	for _, v := range list {
		t.row(v.Name, string(v.Kind), address(v), names(v.Logins()), labels(v.Labels), v.Source)
	}
	return c.table(t)
}

func address(t inventory.Target) string {
	switch {
	case t.SSH != nil && t.SSH.Via != "":
		return t.SSH.Address + " via " + t.SSH.Via
	case t.SSH != nil:
		return t.SSH.Address
	case t.Postgres != nil:
		return t.Postgres.Address + "/" + t.Postgres.Database
	}
	return ""
}

type targetAddCmd struct {
	Name  string            `arg:"" help:"Name, as people will type it."`
	Alias []string          `help:"Further name; may be repeated."`
	Label map[string]string `help:"Label key=value; may be repeated." mapsep:"none"`
	Owner []string          `help:"Group that owns it; may be repeated."`
	Login []string          `help:"Login or role that may be asked for; may be repeated." short:"l" required:""`

	SSH        string   `name:"ssh" help:"Address of its sshd, host or host:port." placeholder:"ADDRESS" xor:"kind"`
	HostKey    []string `help:"Its host key, as in /etc/ssh/ssh_host_ed25519_key.pub; may be repeated." sep:"none"`
	HostCA     []string `name:"host-ca" help:"Host CA that signs its key; may be repeated." sep:"none"`
	HostName   string   `help:"Name in its host certificate, if it is not the target's."`
	Principals string   `help:"scoped: login@target, through AuthorizedPrincipalsFile; plain: login." enum:",scoped,plain" default:"" placeholder:"FORM"`
	Via        string   `help:"SSH target to dial through." placeholder:"TARGET"`
	KeyRef     string   `help:"Reference to a private key (file:, credential:), for hosts that cannot take certificates." placeholder:"REF"`

	Postgres      string   `help:"Address of its PostgreSQL server: host, host:port or a socket directory." placeholder:"ADDRESS" xor:"kind"`
	Database      string   `help:"Database; the target's name if not given."`
	MoreDatabases []string `help:"Further database, reachable as target/database; may be repeated."`
	Identity      string   `help:"How the gateway logs in: dynamic_role, client_cert or static." enum:",dynamic_role,client_cert,static" default:"" placeholder:"HOW"`
	TLS           string   `name:"tls" help:"verify-full, or disable (loopback and sockets alone)." enum:",verify-full,disable" default:"" placeholder:"MODE"`
	CAFile        string   `name:"ca-file" help:"CA of the server's certificate, a file on the gateway." placeholder:"FILE"`
	AdminUser     string   `help:"The gateway's own login, for dynamic_role."`
	AdminPassword string   `help:"Reference to its password (file:, env:, credential:)." placeholder:"REF"`
	AdminDatabase string   `help:"Database to log in to for that."`
	Static        []string `help:"role=reference to its password, for static; may be repeated." placeholder:"ROLE=REF"`
}

func (a *targetAddCmd) Run(c *call) error {
	t := inventory.Target{Name: inventory.Normalize(a.Name), Aliases: a.Alias, Labels: a.Label, Owners: a.Owner}
	switch {
	case a.SSH != "":
		t.Kind = inventory.SSH
		t.SSH = &inventory.SSHTarget{Address: a.SSH, Logins: a.Login, HostKeys: a.HostKey, HostCAs: a.HostCA, HostName: a.HostName,
			Principals: a.Principals, Via: a.Via, Key: a.KeyRef}
	case a.Postgres != "":
		t.Kind = inventory.Postgres
		if a.Database == "" {
			a.Database = t.Name
		}
		t.Postgres = &inventory.PostgresTarget{Address: a.Postgres, Database: a.Database, Databases: a.MoreDatabases, Roles: a.Login, Identity: a.Identity,
			TLS: a.TLS, CAFile: a.CAFile, AdminUser: a.AdminUser, AdminPassword: a.AdminPassword, AdminDatabase: a.AdminDatabase}
		for _, s := range a.Static {
			role, ref, ok := strings.Cut(s, "=")
			if !ok {
				return usagef("%q is not ROLE=REF.", display.Line(s, 80))
			}
			if t.Postgres.Static == nil {
				t.Postgres.Static = map[string]string{}
			}
			t.Postgres.Static[role] = ref
		}
	default:
		return usagef("Say what it is: --ssh ADDRESS or --postgres ADDRESS.")
	}
	return c.putTargets([]inventory.Target{t})
}

type targetImportCmd struct {
	DryRun bool `help:"Check what is on stdin, change nothing."`
}

// Help is shown below the usage.
func (*targetImportCmd) Help() string {
	return "Reads a list of targets, as `target list --json` prints it or as the configuration writes it.\n\nExample: jit-gateway target import < targets.yaml"
}

// maxImport is what one import may bring: 5,000 targets take about 2 MB.
const maxImport = 16 << 20

func (i *targetImportCmd) Run(c *call) error {
	raw, err := c.readAll(maxImport, "A list of targets")
	if err != nil {
		return err
	}
	list, err := c.r.parseTargets(raw)
	if err != nil {
		return failf("Nothing was imported: %s", err)
	}
	if i.DryRun {
		if err := c.checkTargets(list); err != nil {
			return err
		}
		c.say("%s are in order; nothing was changed.", count(len(list), "target", "targets"))
		return nil
	}
	return c.putTargets(list)
}

func (r *Runner) parseTargets(raw []byte) ([]inventory.Target, error) {
	if trimmed := bytes.TrimSpace(raw); r.o.ParseTargets != nil && trimmed[0] != '[' {
		return r.o.ParseTargets(raw)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	var list []inventory.Target
	if err := dec.Decode(&list); err != nil {
		return nil, fmt.Errorf("read the list as JSON: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("read the list as JSON: something follows it")
	}
	return list, nil
}

// checkTargets refuses definitions that cannot work and names that are taken.
func (c *call) checkTargets(list []inventory.Target) error {
	var wrong []string
	seen := map[string]string{}
	for _, t := range list {
		for _, e := range t.Validate() {
			wrong = append(wrong, fmt.Sprintf("%s: %s", display.Line(t.Name, 64), display.Line(e.Error(), 0)))
		}
		for _, n := range append([]string{t.Name}, t.Aliases...) {
			n = inventory.Normalize(n)
			if other, ok := c.r.o.Inventory.Target(n); ok && (other.Name != t.Name || other.Source != sourceStore) {
				where := "the target " + other.Name
				if other.Name == t.Name {
					where = "the configuration, which is not changed from here"
				}
				wrong = append(wrong, fmt.Sprintf("%s: the name %s is taken by %s", display.Line(t.Name, 64), display.Line(n, 64), display.Line(where, 100)))
			} else if by, dup := seen[n]; dup {
				wrong = append(wrong, fmt.Sprintf("%s: the name %s is taken by %s in the same list", display.Line(t.Name, 64), display.Line(n, 64), display.Line(by, 64)))
			}
			seen[n] = t.Name
		}
	}
	if len(wrong) > 0 {
		const most = 20
		if len(wrong) > most {
			wrong = append(wrong[:most], fmt.Sprintf("and %d more", len(wrong)-most))
		}
		return failf("Nothing was changed:\n  %s", strings.Join(wrong, "\n  "))
	}
	return nil
}

// sourceStore is what Target.Source says of targets that commands may change.
const sourceStore = "store"

func (c *call) putTargets(list []inventory.Target) error {
	if err := c.checkTargets(list); err != nil {
		return err
	}
	if err := c.confirmAdmin(); err != nil {
		return err
	}
	var done []string
	for _, t := range list {
		typ := audit.TargetAdded
		if _, ok := c.r.o.Inventory.Target(t.Name); ok {
			typ = audit.TargetUpdated
		}
		t.Source = sourceStore
		err := c.r.o.Targets.PutTarget(c.ctx, t, audit.Event{Type: typ, Outcome: audit.Success, Actor: c.actor(), Target: t.Name,
			Detail: map[string]string{"kind": string(t.Kind), "address": address(t), "hash": t.Hash()}})
		if err != nil {
			return c.reloadAfter(len(done), fmt.Errorf("keep the target %s: %w", t.Name, err))
		}
		done = append(done, t.Name)
	}
	if err := c.reloadAfter(len(done), nil); err != nil {
		return err
	}
	if c.root.JSON {
		return c.json(done)
	}
	if len(done) == 1 {
		c.say("Target %s is in the inventory.", done[0])
	} else {
		c.say("%s are in the inventory.", count(len(done), "target", "targets"))
	}
	return nil
}

// reloadAfter makes n changes effective, also those before a failure.
func (c *call) reloadAfter(n int, err error) error {
	if n == 0 {
		return err
	}
	if rerr := c.r.o.Reload(c.ctx); rerr != nil && err == nil {
		return fmt.Errorf("load the inventory anew: %w", rerr)
	}
	return err
}

type targetRemoveCmd struct {
	Names []string `arg:"" name:"target" help:"Targets."`
}

func (r *targetRemoveCmd) Run(c *call) error {
	for _, n := range r.Names {
		t, ok := c.r.o.Inventory.Target(inventory.Normalize(n))
		switch {
		case !ok || t.Name != inventory.Normalize(n):
			return failf("There is no target %s. See: %starget list", display.Line(n, 64), c.prefix())
		case t.Source != sourceStore:
			return failf("%s comes from %s; remove it there.", display.Line(t.Name, 64), display.Line(t.Source, 100))
		}
	}
	if err := c.confirmAdmin(); err != nil {
		return err
	}
	n := 0
	for _, name := range r.Names {
		name = inventory.Normalize(name)
		err := c.r.o.Targets.DeleteTarget(c.ctx, name, audit.Event{Type: audit.TargetRemoved, Outcome: audit.Success, Actor: c.actor(), Target: name})
		if err != nil {
			return c.reloadAfter(n, err)
		}
		n++
	}
	if err := c.reloadAfter(n, nil); err != nil {
		return err
	}
	c.say("%s removed. Live sessions go on to their end.", strings.Join(r.Names, ", "))
	return nil
}

type targetCheckCmd struct {
	Names    []string `arg:"" optional:"" name:"target" help:"Targets; all if none is named."`
	Standing bool     `help:"Also look for other ways in: passwords, other CAs, authorized_keys."`
}

// checkJSON is what --json prints for a target.
type checkJSON struct {
	Target  string        `json:"target"`
	OK      bool          `json:"ok"`
	Results []CheckResult `json:"results"`
}

func (k *targetCheckCmd) Run(c *call) error {
	list := slices.Clone(c.r.o.Inventory.Targets())
	if len(k.Names) > 0 {
		list = list[:0]
		for _, n := range k.Names {
			t, ok := c.r.o.Inventory.Target(inventory.Normalize(n))
			if !ok {
				return failf("There is no target %s. See: %starget list", display.Line(n, 64), c.prefix())
			}
			list = append(list, t)
		}
	}
	var out []checkJSON
	bad := 0
	for _, t := range list {
		results, err := c.r.o.Check(c.ctx, t, k.Standing)
		if err != nil {
			results = append(results, CheckResult{What: "check", Detail: err.Error()})
		}
		ok := !slices.ContainsFunc(results, func(r CheckResult) bool { return !r.OK })
		if !ok {
			bad++
		}
		out = append(out, checkJSON{t.Name, ok, results})
		if c.root.JSON {
			continue
		}
		for _, r := range results {
			mark := paint("ok  ", green, c.color())
			if !r.OK {
				mark = paint("FAIL", red, c.color())
			}
			c.print("%s  %s: %s  %s", mark, display.Line(t.Name, 64), display.Line(r.What, 0), display.Line(r.Detail, 0))
			if !r.OK && r.Fix != "" {
				c.print("      %s", display.Line(r.Fix, 0))
			}
		}
	}
	if c.root.JSON {
		if err := c.json(out); err != nil {
			return err
		}
	}
	if bad > 0 {
		c.say("%s of %d with trouble.", count(bad, "target", "targets"), len(list))
		return errQuiet
	}
	return nil
}
