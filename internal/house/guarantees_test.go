package house

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	testName   = regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w*`)
	scriptName = regexp.MustCompile(`\btestdata/script/[\w.-]+\.txtar\b`)
	guarantee  = regexp.MustCompile(`^TestG(\d+)`)
)

// docs/guarantees.md is a promise to readers: each of G1 to G11 is there, with
// tests that exist (or an honest "not yet"), and every test that carries a
// guarantee's number is named in it.
func TestGuaranteesNameTheirTests(t *testing.T) {
	const doc = "docs/guarantees.md"
	text := read(t, doc)
	funcs := testFuncs(t)
	for _, name := range testName.FindAllString(text, -1) {
		if _, ok := funcs[name]; !ok {
			t.Errorf("%s names %s, which no test file has", doc, name)
		}
	}
	for _, name := range scriptName.FindAllString(text, -1) {
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			t.Errorf("%s names %s: %v", doc, name, err)
		}
	}
	for name, f := range funcs {
		if guarantee.MatchString(name) && !strings.Contains(text, name) {
			t.Errorf("%s: %s shows a guarantee, and %s does not name it", f.path, name, doc)
		}
	}
	for n := 1; n <= 11; n++ {
		part := section(text, n)
		switch {
		case part == "":
			t.Errorf("%s does not tell of G%d", doc, n)
		case !testName.MatchString(part) && !scriptName.MatchString(part) && !strings.Contains(part, "not yet"):
			t.Errorf("%s: G%d names no test and does not say \"not yet\"", doc, n)
		}
	}
}

// section is the text from the first line that introduces Gn up to the next
// guarantee: a heading, a list item or a table row that begins with its name.
func section(text string, n int) string {
	start := regexp.MustCompile(fmt.Sprintf(`(?m)^[#|*\s-]*G%d\b`, n)).FindStringIndex(text)
	if start == nil {
		return ""
	}
	rest := text[start[0]:]
	next := regexp.MustCompile(`(?m)^[#|*\s-]*G\d+\b`).FindAllStringIndex(rest, 2)
	if len(next) == 2 {
		return rest[:next[1][0]]
	}
	return rest
}
