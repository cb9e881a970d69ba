package config

import (
	"strings"
	"testing"
	"time"
)

const identities = good + `    escalate: {after: 1h, groups: [chiefs]}
  - name: fire
    groups: [sre]
    break_glass: {notify: [leads], reviews: [reviewers]}
listen: {web: ":8443"}
oidc:
  issuer: https://idp.example
  client_id: jit
  client_secret: env:OIDC
  groups: {Eng: sre}
scim:
  tokens: [env:SCIM]
  groups: {DBA: dba}
machines:
  issuers: [{issuer: "https://ci.example", audience: "https://gw"}]
accounts: {dormant_after: 90d}
`

func TestIdentities(t *testing.T) {
	c, err := Parse("/etc/f.yaml", []byte(identities))
	if err != nil {
		t.Fatal(err)
	}
	if c.OIDC.NameClaim != "preferred_username" || c.OIDC.GroupsClaim != "groups" || c.SCIM.Managed()["DBA"] != "dba" ||
		c.Machines.MaxAge.Std() != 10*time.Minute || c.Accounts.Warn.Std() != 7*24*time.Hour || c.Accounts.DormantAfter.Std() != 90*24*time.Hour {
		t.Errorf("%+v %+v %+v %+v", c.OIDC, c.SCIM, c.Machines, c.Accounts)
	}
}

// TestG6ProvisioningIsTrustedExplicitly: a group that decides over others is
// managed from outside only where somebody wrote that this is meant.
func TestG6ProvisioningIsTrustedExplicitly(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"{DBA: dba}", "{DBA: leads}", `scim.groups.DBA: leads may approve under rule "all"`},
		{"{DBA: dba}", "{DBA: chiefs}", `scim.groups.DBA: chiefs may approve under rule "all"`},
		{"{DBA: dba}", "{DBA: reviewers}", `scim.groups.DBA: reviewers reviews emergencies of rule "fire"`},
		{"{DBA: dba}", "{DBA: admins}", "scim.groups.DBA: admins is the administrators'"},
		{"{DBA: dba}", "{DBA: auditors}", "scim.groups.DBA: auditors is the auditors'"},
		{"{Eng: sre}", "{Eng: leads}", `oidc.groups.Eng: leads may approve under rule "all"`},
		{"    ssh:\n", "    owners: [dba]\n    ssh:\n", "scim.groups.DBA: dba owns the target web01"},
		{"  groups: {DBA: dba}", "  approver_groups: {DBA: dba}", "scim.approver_groups.DBA: dba makes nobody an approver"},
		{"{DBA: dba}", "{DBA: sre}", "scim.groups.DBA: sre is managed by oidc.groups.Eng already"},
		{"{DBA: dba}", "{DBA: dba, DBB: dba}", "scim.groups.DBB: dba is managed by scim.groups.DBA already"},
		{"{DBA: dba}", `{DBA: "a\nb"}`, "is not a group name"},
		{"{DBA: dba}", `{DBA: ""}`, "is not a group name"},
		{"tokens: [env:SCIM]", "tokens: [0123456789abcdef0123456789abcdef]", "scim.tokens[0]: secrets are not written here"},
		{"tokens: [env:SCIM]", "tokens: []", "scim.tokens: one bearer token"},
		{"client_secret: env:OIDC", "client_secret: hunter2", "oidc.client_secret: secrets are not written here"},
		{"issuer: https://idp.example", "issuer: http://idp.example", "oidc.issuer: "},
		{"client_id: jit", "client_id: ''", "oidc.client_id: "},
		{`web: ":8443"`, `web: ""`, "oidc: there is no page"},
		{`audience: "https://gw"`, `audience: ""`, "machines.issuers[0].audience: "},
		{`issuers: [`, `issuers: [{issuer: "https://ci.example", audience: x}, `, "machines.issuers[1].issuer: "},
		{"machines:\n", "machines:\n  max_age: 2h\n", "machines.max_age: "},
		{"dormant_after: 90d", "dormant_after: 1h", "accounts.dormant_after: "},
		{"dormant_after: 90d", "dormant_after: 7d", "accounts.warn: "},
	} {
		if !strings.Contains(identities, c.old) {
			t.Fatalf("%q is not in the configuration", c.old)
		}
		_, err := Parse("f.yaml", []byte(strings.Replace(identities, c.old, c.new, 1)))
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "f.yaml:") {
			t.Errorf("%s: %v, want %q", c.new, err, c.want)
		}
	}
	for _, ok := range []string{"approver_groups: {Leads: leads}", "approver_groups: {Admins: admins}"} {
		if _, err := Parse("f.yaml", []byte(strings.Replace(identities, "groups: {DBA: dba}", ok, 1))); err != nil {
			t.Errorf("%s: %v", ok, err)
		}
	}
}
