package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"jit-gateway/internal/dialogue"
)

// Every command line of README and docs names commands and flags that there
// are. docs/commands.md is the tree of the gateway (its own test says so); the
// rest is this program's.
func TestDocsNameCommandsThatExist(t *testing.T) {
	tree := documentedTree(t)
	files, err := filepath.Glob("../../docs/*.md")
	check(t, err)
	seen := 0
	for _, file := range append(files, "../../README.md", "../../CONTRIBUTING.md") {
		raw, err := os.ReadFile(file)
		check(t, err)
		for _, line := range documentedLines(string(raw)) {
			seen++
			if why := line.wrong(t, tree); why != "" {
				t.Errorf("%s: %q: %s", filepath.Base(file), line.text, why)
			}
		}
	}
	if seen < 40 {
		t.Errorf("only %d command lines were found: the search looks in the wrong place", seen)
	}
}

// documentedTree maps each command of the gateway to its flags.
func documentedTree(t *testing.T) map[string][]string {
	raw, err := os.ReadFile("../../docs/commands.md")
	check(t, err)
	tree, name := map[string][]string{}, ""
	for line := range strings.Lines(string(raw)) {
		if head, ok := strings.CutPrefix(line, "#### "); ok {
			name, _, _ = strings.Cut(strings.TrimSpace(head), " [")
			name, _, _ = strings.Cut(name, " <")
			tree[name] = []string{"--json", "--help"}
		} else if strings.HasPrefix(line, "| `") {
			cell, _, _ := strings.Cut(line, "` |")
			tree[name] = append(tree[name], flagRE.FindAllString(cell, -1)...)
		}
	}
	if len(tree) < 40 {
		t.Fatalf("only %d commands in docs/commands.md", len(tree))
	}
	return tree
}

var flagRE = regexp.MustCompile(`(^|[ ` + "`" + `\[])--?[a-z][a-z-]*`)

// A documentedLine is a command line in a page.
type documentedLine struct {
	text string
	ssh  bool // to the gateway, rather than this program
}

var (
	spanRE    = regexp.MustCompile("`[^`\n]+`")
	commandRE = regexp.MustCompile("(?:^|[($`;|=]|sudo (?:-u \\S+ )?)\\s*(ssh (?:-[tT] )?(?:-F \\S+ )?)?jit-gateway ((?:--config \\S+ )?[a-z][^|>;#)`\n]*)")
)

// documentedLines finds them in code: in spans, indented and fenced.
func documentedLines(page string) []documentedLine {
	var code []string
	fenced := false
	for line := range strings.Lines(page) {
		switch {
		case strings.HasPrefix(line, "```"):
			fenced = !fenced
		case fenced || strings.HasPrefix(line, "    "):
			code = append(code, line)
		default:
			code = append(code, spanRE.FindAllString(line, -1)...)
		}
	}
	var out []documentedLine
	for _, c := range code {
		for _, m := range commandRE.FindAllStringSubmatch(c, -1) {
			text, _, _ := strings.Cut(m[2], "  ") // what follows is a remark, or stands in the next column
			out = append(out, documentedLine{strings.TrimSpace(text), m[1] != ""})
		}
	}
	return out
}

// wrong says what a line names that there is not.
func (l documentedLine) wrong(t *testing.T, tree map[string][]string) string {
	words, err := dialogue.Split(strings.NewReplacer("…", "", "[", " ", "]", " ").Replace(l.text))
	if err != nil {
		words = strings.Fields(l.text)
	}
	for len(words) > 1 && (words[0] == "--config" || words[0] == "-c") {
		words = words[2:]
	}
	if len(words) == 0 || !regexp.MustCompile(`^[a-z][a-z-]*$`).MatchString(words[0]) {
		return "" // ssh -J jit-gateway deploy@web01, ssh -N … jit-gateway: of ssh
	}
	name := words[0]
	flags, ok := tree[name]
	if !ok && len(words) > 1 {
		name += " " + words[1]
		flags, ok = tree[name]
	}
	if own := l.own(t, words); !l.ssh && own != nil {
		flags, ok = own, true
	}
	if !ok {
		return "there is no such command"
	}
	for _, w := range words {
		flag, _, _ := strings.Cut(w, "=")
		if flagRE.MatchString(flag) && strings.HasPrefix(flag, "-") && !slices.ContainsFunc(flags, func(f string) bool { return strings.Trim(f, " `[") == flag }) {
			return "there is no flag " + flag
		}
	}
	return ""
}

// own are the flags of a command that runs in this process; nil for others.
func (l documentedLine) own(t *testing.T, words []string) []string {
	for n := min(2, len(words)); n > 0; n-- {
		args := words[:n]
		if strings.HasPrefix(args[n-1], "-") {
			continue
		}
		var out bytes.Buffer
		if run(t.Context(), append(slices.Clone(args), "--help"), strings.NewReader(""), &out, &out) == 0 && strings.Contains(out.String(), "Usage: jit-gateway "+strings.Join(args, " ")) {
			return flagRE.FindAllString(out.String(), -1)
		}
	}
	return nil
}
