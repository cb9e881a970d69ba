package config

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"jit-gateway/approval/policy"
	"jit-gateway/internal/identity"
)

// OIDC is the identity provider that people sign in to the page with.
type OIDC struct {
	Name         string `yaml:"name"`   // on the button
	Issuer       string `yaml:"issuer"` // exactly as the provider writes it
	ClientID     string `yaml:"client_id"`
	ClientSecret string `yaml:"client_secret" secret:"ref"` // none for a public client
	CAFile       string `yaml:"ca_file"`                    // who may sign the provider's certificate; system roots if empty

	Scopes      []string `yaml:"scopes"`       // beside openid; [profile] if empty
	NameClaim   string   `yaml:"name_claim"`   // what login names are made of; preferred_username
	GroupsClaim string   `yaml:"groups_claim"` // groups
	SCIMClaim   string   `yaml:"scim_claim"`   // what SCIM calls externalId, such as oid; links accounts that SCIM made

	Groups         map[string]string `yaml:"groups"`          // the provider's group to ours; nothing else is taken over
	ApproverGroups map[string]string `yaml:"approver_groups"` // the same for groups that make approvers or administrators
	Require        []string          `yaml:"require"`         // groups of the provider, one of which is needed
	ExistingOnly   bool              `yaml:"existing_only"`   // make no accounts at the first sign-in
}

// SCIM lets an identity provider manage accounts and groups, at /scim/v2.
type SCIM struct {
	Tokens         []string          `yaml:"tokens" secret:"ref"` // bearer tokens; two while one is replaced
	Groups         map[string]string `yaml:"groups"`              // the client's displayName to our group; no other is managed
	ApproverGroups map[string]string `yaml:"approver_groups"`     // the same for groups that make approvers or administrators
}

// Machines says which CI systems vouch for their jobs.
type Machines struct {
	MaxAge  policy.Duration `yaml:"max_age"` // of a job's token; 10m
	Issuers []JobIssuer     `yaml:"issuers"`
}

// JobIssuer is one of them.
type JobIssuer struct {
	Issuer   string `yaml:"issuer"`
	Audience string `yaml:"audience"` // exactly this one
	CAFile   string `yaml:"ca_file"`
}

// Accounts says when accounts end by themselves.
type Accounts struct {
	DormantAfter policy.Duration `yaml:"dormant_after"` // not seen for that long: disabled; never if zero
	Warn         policy.Duration `yaml:"warn"`          // how long before an end it is announced; 7d
	Except       []string        `yaml:"except"`        // groups whose members are never dormant
}

// Managed is every group of the map and of the one for approvers, by the
// provider's name.
func managedGroups(a, b map[string]string) map[string]string {
	out := maps.Clone(a)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, b)
	return out
}

// Managed maps the provider's groups to ours.
func (o *OIDC) Managed() map[string]string { return managedGroups(o.Groups, o.ApproverGroups) }

// Managed maps the client's groups to ours.
func (s *SCIM) Managed() map[string]string { return managedGroups(s.Groups, s.ApproverGroups) }

// completeIdentities fills what is left out.
func (c *Config) completeIdentities(abs func(string) string) {
	if o := c.OIDC; o != nil {
		o.CAFile = abs(o.CAFile)
		o.Name, o.NameClaim, o.GroupsClaim = cmp.Or(o.Name, "your company's account"), cmp.Or(o.NameClaim, "preferred_username"), cmp.Or(o.GroupsClaim, "groups")
		if o.Scopes == nil {
			o.Scopes = []string{"profile"}
		}
	}
	c.Machines.MaxAge = cmp.Or(c.Machines.MaxAge, policy.Duration(10*time.Minute))
	for i := range c.Machines.Issuers {
		c.Machines.Issuers[i].CAFile = abs(c.Machines.Issuers[i].CAFile)
	}
	c.Accounts.Warn = cmp.Or(c.Accounts.Warn, policy.Duration(7*24*time.Hour))
}

// checkIdentities finds what provisioning must not be given by mistake.
func checkIdentities(c *Config, bad func(string, string, ...any)) {
	if o := c.OIDC; o != nil {
		checkIssuer(o.Issuer, "oidc.issuer", bad)
		if o.ClientID == "" {
			bad("oidc.client_id", "the client that was registered at the provider")
		}
		if c.Listen.Web == "" {
			bad("oidc", "there is no page to sign in to: listen.web is off")
		}
	}
	if s := c.SCIM; s != nil {
		if len(s.Tokens) == 0 || len(s.Tokens) > 2 {
			bad("scim.tokens", "one bearer token, or two while one is replaced")
		}
		if c.Listen.Web == "" {
			bad("scim", "it is served beside the page, and listen.web is off")
		}
	}
	for i, j := range c.Machines.Issuers {
		at := fmt.Sprintf("machines.issuers[%d].", i)
		checkIssuer(j.Issuer, at+"issuer", bad)
		if j.Audience == "" {
			bad(at+"audience", "the one audience that a job's token must have, such as https://%s", c.Name)
		}
		if slices.ContainsFunc(c.Machines.Issuers[:i], func(o JobIssuer) bool { return o.Issuer == j.Issuer }) {
			bad(at+"issuer", "%q is given twice", j.Issuer)
		}
	}
	if c.Machines.MaxAge < 0 || c.Machines.MaxAge.Std() > time.Hour {
		bad("machines.max_age", "%s: a job asks for its token right before; at most 1h", c.Machines.MaxAge)
	}
	if d := c.Accounts.DormantAfter.Std(); d != 0 && d < 24*time.Hour {
		bad("accounts.dormant_after", "%s would disable people over night; at least 1d", c.Accounts.DormantAfter)
	}
	if c.Accounts.Warn < 0 || c.Accounts.DormantAfter > 0 && c.Accounts.Warn >= c.Accounts.DormantAfter {
		bad("accounts.warn", "%s is not shorter than dormant_after", c.Accounts.Warn)
	}
	checkManaged(c, bad)
}

func checkIssuer(raw, field string, bad func(string, string, ...any)) {
	u, err := url.Parse(raw)
	local := err == nil && u.Scheme == "http" && (u.Hostname() == "localhost" || u.Hostname() == "127.0.0.1" || u.Hostname() == "::1")
	if err != nil || u.Host == "" || u.Scheme != "https" && !local {
		bad(field, "%q is not an https:// address", raw)
	}
}

// checkManaged holds provisioning to groups that it is trusted with (G6): who
// lets it make approvers says so in a place of its own.
func checkManaged(c *Config, bad func(string, string, ...any)) {
	trusted := c.trusted()
	source := map[string]string{} // our group to the field that manages it
	check := func(field string, groups map[string]string, approvers bool) {
		for _, theirs := range slices.Sorted(maps.Keys(groups)) {
			ours, at := groups[theirs], field+"."+theirs
			if err := identity.ValidGroup(ours); err != nil {
				bad(at, "%v", err)
			}
			if theirs == "" || len(theirs) > 256 {
				bad(at, "%q is not a name of a group", theirs)
			}
			if other, taken := source[ours]; taken {
				bad(at, "%s is managed by %s already: a group has one source", ours, other)
			}
			source[ours] = at
			why := trusted[ours]
			switch {
			case why != "" && !approvers:
				bad(at, "%s %s: who may give it makes approvers or administrators without a second person. If provisioning is to decide that, write it under %s", ours, why, strings.Replace(field, ".groups", ".approver_groups", 1))
			case why == "" && approvers:
				bad(at, "%s makes nobody an approver or administrator; write it under %s", ours, strings.Replace(field, ".approver_groups", ".groups", 1))
			}
		}
	}
	if c.OIDC != nil {
		check("oidc.groups", c.OIDC.Groups, false)
		check("oidc.approver_groups", c.OIDC.ApproverGroups, true)
	}
	if c.SCIM != nil {
		check("scim.groups", c.SCIM.Groups, false)
		check("scim.approver_groups", c.SCIM.ApproverGroups, true)
	}
}

// trusted says of each group whose members decide over others why it is one.
func (c *Config) trusted() map[string]string {
	out := map[string]string{}
	for _, g := range c.Roles.Admins {
		out[g] = "is the administrators'"
	}
	for _, g := range c.Roles.Auditors {
		out[g] = "is the auditors'"
	}
	for _, r := range c.Rules {
		for _, q := range r.Approve {
			for _, g := range q.Groups {
				out[g] = fmt.Sprintf("may approve under rule %q", r.Name)
			}
		}
		if r.Escalate != nil {
			for _, g := range r.Escalate.Groups {
				out[g] = fmt.Sprintf("may approve under rule %q", r.Name)
			}
		}
		if r.BreakGlass != nil {
			for _, g := range r.BreakGlass.Reviews {
				out[g] = fmt.Sprintf("reviews emergencies of rule %q", r.Name)
			}
		}
	}
	for _, t := range c.Targets {
		for _, g := range t.Owners {
			out[g] = "owns the target " + t.Name
		}
	}
	return out
}
