package main

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"jit-gateway/internal/testenv"
)

// picture draws what alice's terminal shows in a real run, from her first
// `ssh web01` to the end of the window, as an SVG. `make picture` calls it
// for the README.
func picture(ctx context.Context, dir, out string) (err error) {
	s, err := setUp(ctx, dir+"-picture", false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Down()) }()
	pty, err := testenv.StartPTY(s.SSH(ctx, "alice", "web01"))
	if err != nil {
		return err
	}
	defer pty.Close()
	say := func(wait, answer string) error {
		if _, err := pty.Expect(wait); err != nil {
			return err
		}
		return pty.Line(answer)
	}
	if err := errors.Join(say(`Reason: `, "nginx 502s, INC-4211"), say(`For how long [^\n]*: `, "30m")); err != nil {
		return err
	}
	shown, err := pty.Expect(`stays open\.\r?\n`)
	if err != nil {
		return err
	}
	bob, err := testenv.StartPTY(s.SSH(ctx, "bob", "-t", "jit-gateway", "approve", requestID.FindString(shown), "--for", "20s"))
	if err != nil {
		return err
	}
	defer bob.Close()
	code, err := s.Code("bob")
	if err != nil {
		return err
	}
	if _, err := bob.Expect(`Code: `); err != nil {
		return err
	}
	if err := bob.Line(code); err != nil {
		return err
	}
	if code, err = s.Code("alice"); err != nil {
		return err
	}
	if err := errors.Join(say(`Code: `, code), say(`deploy@web01:~\$ `, "uptime"), say(`deploy@web01:~\$ `, "whoami")); err != nil {
		return err
	}
	if _, err := pty.Exit(); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	return os.WriteFile(out, svg("alice$ ssh web01\n"+pty.Screen()), 0o644)
}

const (
	lineHeight, margin = 20, 16
	columns            = 92
	pixels             = 790 // of the columns at 14 px
)

// svg draws lines of text; prompts, answers and the end stand out.
func svg(text string) []byte {
	var lines []string
	for _, l := range strings.Split(strings.TrimSpace(clean(text)), "\n") {
		for len([]rune(l)) > columns {
			r := []rune(l)
			lines, l = append(lines, string(r[:columns])), string(r[columns:])
		}
		lines = append(lines, l)
	}
	width, height := pixels+2*margin, len(lines)*lineHeight+2*margin+24
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="A terminal: asking for access, being approved, working, and the end">`, width, height, width, height)
	b.WriteString(`<rect width="100%" height="100%" rx="10" fill="#121615"/><circle cx="20" cy="18" r="5" fill="#4fc3ae"/><circle cx="38" cy="18" r="5" fill="#e9b949"/><circle cx="56" cy="18" r="5" fill="#ff9085"/>`)
	b.WriteString(`<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="14" fill="#e4eae7" xml:space="preserve">`)
	for i, l := range lines {
		fmt.Fprintf(&b, `<text x="%d" y="%d" fill="%s">`, margin, margin+36+i*lineHeight, color(l))
		xml.EscapeText(&b, []byte(l))
		b.WriteString("</text>\n")
	}
	b.WriteString("</g></svg>\n")
	return []byte(b.String())
}

func color(line string) string {
	switch {
	case strings.HasPrefix(line, "alice$"), strings.Contains(line, "@web01:~$"):
		return "#4fc3ae"
	case strings.HasPrefix(line, "Approved by"):
		return "#e9b949"
	case strings.HasPrefix(line, "jit-gateway:"), strings.HasPrefix(line, "Connection to"):
		return "#ff9085"
	}
	return "#e4eae7"
}
