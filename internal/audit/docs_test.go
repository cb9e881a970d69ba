package audit

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestEventsAreDocumented: receivers rely on docs/audit-events.md, so every
// event type is in it, and nothing that is not one.
func TestEventsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/audit-events.md")
	if err != nil {
		t.Fatal(err)
	}
	f, err := parser.ParseFile(token.NewFileSet(), "event.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if name, ok := v.Type.(*ast.Ident); ok && name.Name == "Type" {
			for _, value := range v.Values {
				lit, ok := value.(*ast.BasicLit)
				if !ok {
					t.Fatalf("%s is not a literal", v.Names[0])
				}
				s, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Fatal(err)
				}
				types[s] = true
			}
		}
		return true
	})
	if len(types) < 60 {
		t.Fatalf("only %d event types were found", len(types))
	}
	for typ := range types {
		if !strings.Contains(string(page), "`"+typ+"`") {
			t.Errorf("%s is not in docs/audit-events.md", typ)
		}
	}
	for line := range strings.SplitSeq(string(page), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || !strings.Contains(cells[1], ".") {
			continue
		}
		for _, name := range strings.Fields(cells[1]) {
			if name = strings.Trim(name, "`"); !types[name] {
				t.Errorf("docs/audit-events.md has %q, which is no event type", name)
			}
		}
	}
}
