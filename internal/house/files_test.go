package house

import (
	"go/ast"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// longFiles lists the files of more than 400 lines, each with its reason.
var longFiles = map[string]string{}

func TestFilesAreSmall(t *testing.T) {
	long := map[string]bool{}
	for _, f := range goFiles(t) {
		if f.lines > 400 {
			long[f.path] = true
			if longFiles[f.path] == "" {
				t.Errorf("%s has %d lines: split it, or give a reason in longFiles", f.path, f.lines)
			}
		}
	}
	for path := range longFiles {
		if !long[path] {
			t.Errorf("%s is no longer long: take it off the list", path)
		}
	}
}

func TestPackagesBeginWithTheirStory(t *testing.T) {
	told := map[string]string{} // package folder to its comment
	for _, f := range goFiles(t) {
		if f.test {
			continue
		}
		if _, seen := told[f.pkg]; !seen {
			told[f.pkg] = ""
		}
		if f.ast.Doc == nil {
			continue
		}
		if told[f.pkg] != "" {
			t.Errorf("%s: package %s has a second package comment", f.path, f.pkg)
		}
		told[f.pkg] = f.ast.Doc.Text()
		want := "Package " + f.ast.Name.Name + " "
		switch {
		case f.ast.Name.Name == "main" && supports(f.pkg):
			want = "" // a generator's comment is its own
		case f.ast.Name.Name == "main":
			want = "Command "
		}
		if !strings.HasPrefix(told[f.pkg], want) {
			t.Errorf("%s: the package comment begins with %q, not with %q", f.path, firstLine(told[f.pkg]), want)
		}
	}
	for pkg, text := range told {
		if len(text) < 80 {
			t.Errorf("package %s does not tell what it does: its comment is %q", pkg, strings.TrimSpace(text))
		}
	}
}

// A test that skips itself looks green and guards nothing.
func TestNoTestSkips(t *testing.T) {
	for _, f := range goFiles(t) {
		if !f.test && !supports(f.pkg) {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			recv, ok := sel.X.(*ast.Ident)
			if ok && (recv.Name == "t" || recv.Name == "b" || recv.Name == "f" || recv.Name == "tb") {
				switch sel.Sel.Name {
				case "Skip", "Skipf", "SkipNow":
					t.Errorf("%s: a test skips itself", f.path)
				}
			}
			return true
		})
	}
	for _, script := range glob(t, "testdata/script", ".txtar") {
		for i, line := range strings.Split(read(t, script), "\n") {
			if strings.HasPrefix(line, "-- ") {
				break // files follow, not commands
			}
			for _, word := range strings.Fields(strings.SplitN(line, "#", 2)[0]) {
				if word == "skip" {
					t.Errorf("%s:%d: a story skips itself", script, i+1)
				}
			}
		}
	}
}

// A fuzz target without seeds runs on nothing in make test.
func TestFuzzTargetsHaveSeeds(t *testing.T) {
	for name, f := range testFuncs(t) {
		if !strings.HasPrefix(name, "Fuzz") {
			continue
		}
		seeds := len(glob(t, filepath.Join(f.pkg, "testdata/fuzz", name), ""))
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if fn, ok := n.(*ast.FuncDecl); ok && fn.Name.Name != name {
				return false
			}
			if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "Add" {
				seeds++
			}
			return true
		})
		if seeds == 0 {
			t.Errorf("%s: %s has no seed: neither f.Add nor a file in testdata/fuzz/%s", f.path, name, name)
		}
	}
}

// glob lists the files below a folder, from the root, by suffix.
func glob(t *testing.T, dir, suffix string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil
		}
		if err == nil && !d.IsDir() && strings.HasSuffix(path, suffix) {
			rel, _ := filepath.Rel(root, path)
			out = append(out, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
