package command

import (
	"fmt"
	"strings"
	"time"

	"jit-gateway/approval/mfa"
	"jit-gateway/internal/dialogue"
	"jit-gateway/internal/identity"
)

type whoamiCmd struct{}

// whoamiJSON is what --json prints.
type whoamiJSON struct {
	User        identity.User  `json:"user,omitzero"`
	LocalAdmin  bool           `json:"local_admin,omitempty"`
	Key         string         `json:"key,omitempty"`
	Source      string         `json:"source,omitempty"`
	Keys        []identity.Key `json:"keys,omitempty"`
	Factors     []mfa.Factor   `json:"factors,omitempty"`
	Admin       bool           `json:"admin,omitempty"`
	Auditor     bool           `json:"auditor,omitempty"`
	GatewayTime time.Time      `json:"gateway_time"`
}

func (*whoamiCmd) Run(c *call) error {
	w := whoamiJSON{User: c.inv.User, LocalAdmin: c.inv.LocalAdmin, Key: c.inv.Caller.KeyFingerprint, Source: c.inv.Caller.Source, GatewayTime: c.r.o.Now().UTC()}
	if c.inv.User.ID != "" {
		var err error
		if w.Keys, err = c.r.o.Users.Keys(c.ctx, c.inv.User.ID); err != nil {
			return err
		}
		if w.Factors, err = c.r.o.MFA.Factors(c.ctx, c.inv.User.ID); err != nil {
			return err
		}
		w.Admin, w.Auditor = c.r.o.Approvals.IsAdmin(c.inv.User), c.r.o.Approvals.IsAuditor(c.inv.User)
	}
	if c.root.JSON {
		return c.json(w)
	}
	if c.inv.LocalAdmin {
		c.fields("user", "local administrator, through admin.sock", "gateway", c.r.o.Public.Name, "time", c.stamp(w.GatewayTime))
		return nil
	}
	var roles []string
	if w.Admin {
		roles = append(roles, "administrator")
	}
	if w.Auditor {
		roles = append(roles, "auditor")
	}
	c.fields("user", c.inv.User.Name, "kind", string(c.inv.User.Kind), "groups", strings.Join(c.inv.User.Groups, ", "), "roles", strings.Join(roles, ", "),
		"valid until", c.stamp(c.inv.User.ValidUntil), "from", w.Source, "this key", w.Key, "time", c.stamp(w.GatewayTime))
	for _, k := range w.Keys {
		c.fields("key", strings.TrimSpace(k.Fingerprint+" "+k.Comment)+", since "+k.CreatedAt.UTC().Format(time.DateOnly))
	}
	n := map[mfa.Kind]int{}
	for _, f := range w.Factors {
		if n[f.Kind]++; f.Kind != mfa.Recovery {
			c.fields("factor", strings.TrimSpace(fmt.Sprintf("%s %s", f.Kind, f.Name))+", since "+f.CreatedAt.UTC().Format(time.DateOnly))
		}
	}
	if n[mfa.Recovery] > 0 {
		c.fields("recovery", count(n[mfa.Recovery], "code is left", "codes are left"))
	}
	return nil
}

type helpCmd struct {
	Command []string `arg:"" optional:"" help:"Command to explain."`
}

func (h *helpCmd) Run(c *call) error {
	// The tree is parsed again with --help behind the words.
	k, err := c.r.parser(&call{r: c.r, inv: c.inv}, c.out)
	if err != nil {
		return err
	}
	_, err = k.Parse(append(append([]string{}, h.Command...), "--help"))
	if err != nil && err.Error() != errHelp.Error() {
		return c.misread(err)
	}
	return nil
}

type webCmd struct {
	NoQR bool `name:"no-qr" help:"Print the link alone."`
}

// webJSON is what --json prints.
type webJSON struct {
	URL     string    `json:"url"`
	Expires time.Time `json:"expires"`
}

func (w *webCmd) Run(c *call) error {
	url, expires, err := c.r.o.PageLink(c.ctx, c.inv.Caller)
	if err != nil {
		return err
	}
	if c.root.JSON {
		return c.json(webJSON{url, expires.UTC()})
	}
	c.print("%s", url)
	if !w.NoQR {
		qr, err := qrText(url)
		if err != nil {
			return err
		}
		c.say("%s", qr)
	}
	c.say("Good once, for %s. The page then asks for a code.", dialogue.LongDuration(expires.Sub(c.r.o.Now())))
	return nil
}

type evidenceCmd struct {
	Grant string `arg:"" help:"Grant (or its request)."`
}

// Help is shown below the usage.
func (*evidenceCmd) Help() string {
	return "The pack holds request, approvals, second factor, credentials, sessions and the proof that nothing is left. " +
		"Verify it offline: jit-gateway verify pack.zip --key …\n\nExample: ssh jit-gateway evidence G7K2 > pack.zip"
}

func (e *evidenceCmd) Run(c *call) error {
	if c.inv.TTY {
		return usagef("The pack is a zip file: send it into one, without a terminal: ssh -T %s evidence %s > pack.zip", c.r.o.Public.Name, first([]string{e.Grant}))
	}
	g, err := c.findGrant(e.Grant)
	if err != nil {
		return err
	}
	return c.r.o.Evidence(c.ctx, c.inv.Caller, g.ID, c.out)
}
