package command

import (
	"strings"

	"jit-gateway/internal/admin"
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
	Sync   targetSyncCmd   `cmd:"" help:"Read the configured sources of targets at once." needs:"sync"`
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

func address(t inventory.Target) string { return admin.Address(t) }

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
	list := []inventory.Target{t}
	if err := c.checkTargets(list); err != nil {
		return err
	}
	return c.do(change{Targets: list}, targetsSummary(list))
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
	c.say("%s removed; grants and sessions there end.", strings.Join(r.Names, ", "))
	return nil
}
