package stories

import (
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"jit-gateway/internal/testenv"
)

func term(ts *testscript.TestScript, t *tale, args []string) error {
	if len(args) < 2 {
		return errors.New("usage: term NAME PROGRAM ARGS…")
	}
	cmd := exec.CommandContext(t.ctx, lookPath(ts, args[1]), args[2:]...)
	cmd.Dir = ts.Getenv("WORK")
	for _, name := range []string{"PATH", "HOME", "LANG", "PAGER", "PGSSLMODE", "PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGSSLROOTCERT", "PGPASSWORD"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	if old := t.terms[args[0]]; old != nil {
		old.Close()
	}
	p, err := testenv.StartPTY(cmd)
	if err != nil {
		return err
	}
	p.Wait = 40 * time.Second
	t.terms[args[0]] = p
	return nil
}

func (t *tale) term(name string) (*testenv.PTY, error) {
	p := t.terms[name]
	if p == nil {
		return nil, fmt.Errorf("there is no terminal %q", name)
	}
	return p, nil
}

// see waits for a text on a terminal; negated, the text must not be on it.
func see(ts *testscript.TestScript, neg bool, args []string) {
	t := state(ts)
	if len(args) != 2 {
		ts.Fatalf("usage: see NAME REGEXP")
	}
	p, err := t.term(args[0])
	if err != nil {
		ts.Fatalf("see: %v", err)
	}
	if neg {
		if regexp.MustCompile(args[1]).MatchString(p.Screen()) {
			fail(ts, "terminal %s shows %q:\n%s", args[0], args[1], p.Screen())
		}
		return
	}
	if _, err := p.Expect(args[1]); err != nil {
		fail(ts, "see: %v", err)
	}
}

func typeLine(ts *testscript.TestScript, t *tale, args []string) error {
	if len(args) != 2 {
		return errors.New("usage: type NAME TEXT")
	}
	p, err := t.term(args[0])
	if err != nil {
		return err
	}
	return p.Line(args[1])
}

func typeCode(ts *testscript.TestScript, t *tale, args []string) error {
	if len(args) != 2 {
		return errors.New("usage: typecode NAME USER")
	}
	c, err := t.stack.Code(args[1])
	if err != nil {
		return err
	}
	return typeLine(ts, t, []string{args[0], c})
}

// keys types without the return key; \xNN stands for any byte.
func keys(ts *testscript.TestScript, t *tale, args []string) error {
	if len(args) != 2 {
		return errors.New("usage: keys NAME TEXT")
	}
	p, err := t.term(args[0])
	if err != nil {
		return err
	}
	text, err := strconv.Unquote(`"` + strings.ReplaceAll(args[1], `"`, `\"`) + `"`)
	if err != nil {
		return err
	}
	return p.Send(text)
}

func ends(ts *testscript.TestScript, t *tale, args []string) error {
	if len(args) != 2 {
		return errors.New("usage: ends NAME STATUS")
	}
	p, err := t.term(args[0])
	if err != nil {
		return err
	}
	got, err := p.Exit()
	if err != nil {
		return err
	}
	if args[1] == "nonzero" && got != 0 || fmt.Sprint(got) == args[1] {
		return nil
	}
	return fmt.Errorf("%s ended with status %d, want %s; it showed:\n%s", args[0], got, args[1], p.Screen())
}

func capture(ts *testscript.TestScript, t *tale, args []string) error {
	if len(args) < 2 || len(args) > 3 {
		return errors.New("usage: capture VAR REGEXP [NAME]")
	}
	text := ""
	if len(args) == 3 {
		p, err := t.term(args[2])
		if err != nil {
			return err
		}
		text = p.Screen()
	} else {
		text = ts.ReadFile("stdout")
	}
	re, err := regexp.Compile("(?m)" + args[1])
	if err != nil {
		return err
	}
	m := re.FindStringSubmatch(text)
	if len(m) < 2 {
		return fmt.Errorf("%q has no match in:\n%s", args[1], text)
	}
	ts.Setenv(args[0], m[1])
	return nil
}
