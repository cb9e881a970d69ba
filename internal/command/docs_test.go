package command

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

var update = flag.Bool("update", false, "write docs/commands.md anew")

const docsPath = "../../docs/commands.md"

// docs/commands.md is made from the tree: go test ./internal/command -run
// TestDocs -update.
func TestDocsMatchTheTree(t *testing.T) {
	w, stop := newWorld(t, nil)
	defer stop()
	want := commandDocs(t, w)
	if *update {
		if err := os.WriteFile(filepath.FromSlash(docsPath), want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(docsPath)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("docs/commands.md is not what the commands are; run: go test ./internal/command -run TestDocs -update")
	}
}

var audience = map[string]string{
	"user": "users", "any": "users, and the local administrator", "auditor": "auditors and administrators",
	"admin": "administrators", "second": "administrators over ssh", "local": "the local administrator", "enroll": "everybody, also with a key that is not registered",
}

func commandDocs(t *testing.T, w *world) []byte {
	t.Helper()
	k, err := w.r.parser(&call{r: w.r, inv: w.as("local")}, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	b.WriteString(docsIntro)
	for _, g := range []string{"access", "approve", "session", "self", "admin"} {
		fmt.Fprintf(&b, "\n## %s\n", groups[g])
		for _, n := range k.Model.Children {
			if n.Tag.Get("group") == g { // those that the caller may not use have lost theirs
				documentNode(&b, n, "user")
			}
		}
	}
	return b.Bytes()
}

func documentNode(b *bytes.Buffer, n *kong.Node, who string) {
	who = whoOf(n, who)
	if len(n.Children) > 0 {
		fmt.Fprintf(b, "\n### %s\n\n%s\n", strings.TrimPrefix(n.FullPath(), "jit-gateway "), n.Help)
		for _, c := range n.Children {
			documentNode(b, c, who)
		}
		return
	}
	head := strings.TrimPrefix(n.Summary(), "jit-gateway ")
	if len(n.Flags) == 0 {
		head = strings.TrimSuffix(head, " [flags]")
	}
	fmt.Fprintf(b, "\n#### %s\n\n%s", head, n.Help)
	if n.Detail != "" {
		b.WriteString(" " + n.Detail)
	}
	readers, ok := audience[who]
	if !ok {
		panic("nobody is " + who)
	}
	fmt.Fprintf(b, "\n\nFor %s.\n", readers)
	if len(n.Positional) == 0 && len(n.Flags) == 0 {
		return
	}
	b.WriteString("\n| | |\n|---|---|\n")
	for _, p := range n.Positional {
		fmt.Fprintf(b, "| `%s` | %s |\n", p.Summary(), cellText(p.Help))
	}
	for _, f := range n.Flags {
		short := ""
		if f.Short != 0 {
			short = fmt.Sprintf("-%c, ", f.Short)
		}
		name := "--" + f.Name
		if !f.IsBool() {
			name += "=" + strings.Trim(f.FormatPlaceHolder(), `"`)
		}
		fmt.Fprintf(b, "| `%s%s` | %s |\n", short, name, cellText(f.Help))
	}
}

func cellText(s string) string { return strings.ReplaceAll(s, "|", "\\|") }

const docsIntro = `# Commands

One tree of commands, in two places:

- ` + "`ssh jit-gateway COMMAND`" + ` for everybody, with nothing installed; ` + "`ssh jit-gateway`" + ` alone opens a prompt that stays until ` + "`exit`" + `,
- ` + "`jit-gateway COMMAND`" + ` on the gateway's own machine, over ` + "`admin.sock`" + ` in the data directory, for the gateway's user and root.

` + "`--json`" + ` prints any result as JSON; lists are arrays, streams are JSON lines. The exit status is 0 for done, 1 for refused or
failed, 2 for a wrong command line. Results go to stdout; questions, warnings and errors go to stderr, and answers are read
from stdin, so every command works in a script. Codes are asked for without echo on a terminal, never taken as arguments.
Identifiers may be typed in any case. Times are UTC.

Commands whose service is switched off are not in the tree; those that are not for you are refused, and the refusal is in the
audit log. Administrators who come over ssh give a code for what changes users or targets; disabling a user needs none. Once
there are two administrators, what makes an approver or widens access waits for the second one's ` + "`confirm`" + `.

This page is made from the tree by its test.
`

func TestHelpShowsWhatTheCallerMayUse(t *testing.T) {
	w, stop := newWorld(t, map[string][]string{"alice": {"sre"}, "erin": {"admins"}})
	defer stop()
	for who, want := range map[string][2]string{
		"alice": {"approve", "Administer users"}, "erin": {"Administer users", ""}, "stranger": {"enroll", "  targets "}, "local": {"Administer targets", "  token "},
	} {
		r := w.run(who, "", "help")
		if r.status != OK || !strings.Contains(r.out, want[0]) || want[1] != "" && strings.Contains(r.out, want[1]) {
			t.Errorf("%s: %d\n%s%s", who, r.status, r.out, r.err)
		}
	}
	if r := w.run("alice", "", "help", "request"); !strings.Contains(r.out, "--no-wait") {
		t.Error(r.out)
	}
	if r := w.run("alice", "", "help", "nonsense"); r.status != Usage {
		t.Errorf("%+v", r)
	}
	if r := w.run("alice", "", "approve", "-h"); r.status != OK || !strings.Contains(r.out, "--digest") {
		t.Errorf("%+v", r)
	}
	if r := w.run("alice", ""); r.status != Usage || !strings.Contains(r.out, "targets") || !strings.Contains(r.err, "ssh -t jit-gateway") {
		t.Errorf("%+v", r)
	}
	// Without their services, commands are not there.
	o := w.o
	o.PageLink, o.Evidence, o.Check, o.Search, o.UserCert = nil, nil, nil, nil, nil
	bare, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	w.r = bare
	for _, args := range [][]string{{"web"}, {"evidence", "G1"}, {"cert", "web01"}, {"target", "check"}, {"recording", "search", "x"}} {
		if r := w.run("erin", "", args...); r.status != Usage {
			t.Errorf("%v: %+v", args, r)
		}
	}
}
