package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The example cases hold for the example rules, and a case that does not is
// told with its line, what came of it and why.
func TestPolicyTest(t *testing.T) {
	const conf = "../../configs/small-team.yaml"
	test := func(file string) (int, string) {
		var out, errs bytes.Buffer
		code := run(t.Context(), []string{"--config", conf, "policy", "test", file}, strings.NewReader(""), &out, &errs)
		return code, out.String() + errs.String()
	}
	if code, out := test("../../configs/cases/small-team.yaml"); code != 0 || !strings.Contains(out, "9 cases, 0 failed") {
		t.Errorf("%d: %s", code, out)
	}
	const alice = "user: alice, groups: [sre], target: web01, login: deploy"
	for text, want := range map[string]string{
		"{" + alice + ", duration: 9h, want: allow}":                  `:2): got deny by rule "", want allow: rule web-deploy: at most 8h`,
		"{" + alice + ", want: deny}":                                 `got allow by rule "web-deploy", want deny`,
		"{" + alice + ", want: allow, rule: web-admin}":               `want allow by rule "web-admin"`,
		"{user: alice, target: web404, login: deploy, want: deny}":    `got nothing by rule "", want deny: target "web404" is not configured`,
		"{user: alice, groups: [sre], target: web01, want: deny}":     "several logins",
		"{" + alice + ", start: '2036-01-01T00:00:00Z', want: allow}": "a start at most 7d ahead",
		"{" + alice + ", history: {denials: 1}, want: deny}":          "known here: denials_7d",
		"{" + alice + ", start: soon, want: deny}":                    "cases[0].start",
		"{" + alice + ", break_glass: true, want: sure}":              `"emergency" or "deny"`,
	} {
		file := filepath.Join(t.TempDir(), "cases.yaml")
		if err := os.WriteFile(file, []byte("cases:\n  - "+text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, out := test(file); code != 1 || !strings.Contains(out, want) {
			t.Errorf("%s: status %d, want %s in: %s", text, code, want, out)
		}
	}
}
