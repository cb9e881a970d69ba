package session_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
)

// docs/session-flow.md and the code carry the same numbers: every file that
// the page names for a step says in a comment that it does that step.
func TestTheFlowOfTheDocsIsThatOfTheCode(t *testing.T) {
	page, err := os.ReadFile("../docs/session-flow.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile(`(?m)^\| (\d+) \| (\w[\w ]*) \| (.*) \|$`)
	path := regexp.MustCompile("`([a-z/_0-9]+\\.go)`")
	// "step 8", "steps 4 and 5", "steps 9 to 11"
	says := regexp.MustCompile(`[Ss]teps? (\d+)(?: (to|and) (\d+))?`)
	steps := 0
	for _, m := range row.FindAllStringSubmatch(string(page), -1) {
		step, _ := strconv.Atoi(m[1])
		if steps++; step != steps {
			t.Fatalf("row %d of the table is step %d", steps, step)
		}
		if !regexp.MustCompile(fmt.Sprintf(`(?m)^## %d\. %s$`, step, m[2])).Match(page) {
			t.Errorf("step %d has no section %q", step, m[2])
		}
		files := path.FindAllStringSubmatch(m[3], -1)
		if len(files) == 0 {
			t.Errorf("step %d names no file", step)
		}
		for _, f := range files {
			code, err := os.ReadFile(filepath.Join("..", f[1]))
			if err != nil {
				t.Errorf("step %d: %v", step, err)
				continue
			}
			found := false
			for _, s := range says.FindAllStringSubmatch(string(code), -1) {
				from, _ := strconv.Atoi(s[1])
				to := from
				if s[3] != "" {
					to, _ = strconv.Atoi(s[3])
				}
				found = found || from <= step && step <= to
			}
			if !found {
				t.Errorf("%s does not say that it is step %d", f[1], step)
			}
		}
	}
	if steps != 12 {
		t.Errorf("the table has %d steps, want 12", steps)
	}
}
