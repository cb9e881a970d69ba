package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"jit-gateway/internal/admin"
	"jit-gateway/internal/display"
	"jit-gateway/internal/inventory"
	"jit-gateway/internal/source"
)

type targetImportCmd struct {
	DryRun  bool              `help:"Check what is on stdin and tell what would change; change nothing."`
	Format  string            `help:"What is on stdin: yaml (JSON too), csv, or ansible for what ansible-inventory --list prints." enum:"yaml,csv,ansible" default:"yaml"`
	Login   []string          `help:"Login of hosts that name none; may be repeated." short:"l"`
	Label   map[string]string `help:"Label key=value for all; may be repeated." mapsep:"none"`
	Owner   []string          `help:"Group that owns those that name none; may be repeated."`
	HostCA  []string          `name:"host-ca" help:"Host CA of hosts that name neither keys nor CAs; may be repeated." sep:"none"`
	Address string            `help:"Address of hosts that name none; {name} stands for the name." placeholder:"TEMPLATE"`
	Via     string            `help:"SSH target to dial hosts through." placeholder:"TARGET"`
}

// Help is shown below the usage.
func (*targetImportCmd) Help() string {
	return "Reads a list of targets, as `target list --json` prints it or as the configuration writes it; a CSV table; or an Ansible inventory. " +
		"Targets that change by themselves belong into the configuration's sources.\n\n" +
		"Examples: jit-gateway target import < targets.yaml; ansible-inventory --list | jit-gateway target import --format ansible --login deploy --dry-run"
}

// maxImport is what one import may bring: 5,000 targets take about 2 MB.
const maxImport = 16 << 20

func (i *targetImportCmd) Run(c *call) error {
	raw, err := c.readAll(maxImport, "A list of targets")
	if err != nil {
		return err
	}
	list, err := c.r.parseTargets(i.Format, raw, i.defaults())
	if err != nil {
		return failf("Nothing was imported: %s", err)
	}
	if err := c.checkTargets(list); err != nil {
		return err
	}
	if i.DryRun {
		d := source.Compare(c.known(list), list)
		if c.root.JSON {
			return c.json(d)
		}
		c.print("%s are in order; nothing was changed. An import would bring %s.", count(len(list), "target", "targets"), display.Line(d.String(), 0))
		return nil
	}
	return c.do(change{Targets: list}, targetsSummary(list))
}

// targetsSummary tells a second administrator what would be reached.
func targetsSummary(list []inventory.Target) string {
	var parts []string
	for _, t := range list {
		parts = append(parts, fmt.Sprintf("%s (%s at %s, %s)", t.Name, t.Kind, address(t), strings.Join(t.Logins(), " ")))
	}
	if len(parts) > 5 {
		parts = append(parts[:5], fmt.Sprintf("and %d more", len(list)-5))
	}
	return "add or change " + strings.Join(parts, "; ")
}

// defaults complete entries that leave something out.
func (i *targetImportCmd) defaults() inventory.Target {
	d := inventory.Target{Labels: i.Label, Owners: i.Owner}
	if len(i.Login)+len(i.HostCA) > 0 || i.Address != "" || i.Via != "" || i.Format == "ansible" {
		d.SSH = &inventory.SSHTarget{Address: i.Address, Logins: i.Login, HostCAs: i.HostCA, Via: i.Via}
	}
	return d
}

// known are the targets of the inventory that a list names.
func (c *call) known(list []inventory.Target) []inventory.Target {
	var out []inventory.Target
	for _, t := range list {
		if have, ok := c.r.o.Inventory.Target(t.Name); ok {
			out = append(out, have)
		}
	}
	return out
}

func (r *Runner) parseTargets(format string, raw []byte, defaults inventory.Target) ([]inventory.Target, error) {
	if r.o.ParseTargets != nil {
		return r.o.ParseTargets(format, raw, defaults)
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
	if err := c.r.admin.CheckTargets(list); err != nil {
		return c.told(admin.Outcome{}, err)
	}
	return nil
}

// sourceStore is what Target.Source says of targets that commands may change.
const sourceStore = admin.SourceStore

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
