package stories

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"jit-gateway/internal/testenv"
	"jit-gateway/internal/testenv/stack"
)

// tale is the state of one script.
type tale struct {
	ctx   context.Context
	stack *stack.Stack
	terms map[string]*testenv.PTY

	objects *testenv.ObjectStore // nil unless the story has one
}

type key struct{}

// Setup prepares one script.
func Setup(env *testscript.Env) error {
	ctx, cancel := context.WithCancel(context.Background())
	t := &tale{ctx: ctx, terms: map[string]*testenv.PTY{}}
	env.Values[key{}] = t
	env.Setenv("PGSSLMODE", "verify-full")
	env.Setenv("PAGER", "cat")
	env.Setenv("LANG", "C.UTF-8")
	if here, err := os.Getwd(); err == nil { // a check of the log by another implementation
		env.Setenv("CHECKLOG", filepath.Join(here, "..", "..", "testdata", "checklog", "checklog.py"))
	}
	env.Defer(func() {
		for _, p := range t.terms {
			p.Close()
		}
		if t.stack != nil {
			if err := t.stack.Down(); err != nil {
				env.T().Log("stop the story's gateway: ", err)
				env.T().FailNow()
			}
		}
		if t.objects != nil {
			if err := t.objects.Stop(); err != nil {
				env.T().Log("stop the story's object store: ", err)
			}
		}
		cancel()
	})
	return nil
}

// Commands are those of the package comment.
func Commands() map[string]func(ts *testscript.TestScript, neg bool, args []string) {
	cmds := map[string]func(ts *testscript.TestScript, t *tale, args []string) error{
		"stack": setUp, "gateway": gateway,
		"grant": grant, "ask": ask, "approve": approve, "activate": activate, "token": token, "code": code, "secret": secret,
		"term": term, "type": typeLine, "typecode": typeCode, "keys": keys, "ends": ends,
		"capture": capture, "sql": sql, "flip": flip, "sqlite": sqlite, "objects": objects,
	}
	out := map[string]func(ts *testscript.TestScript, neg bool, args []string){}
	for name, do := range cmds {
		out[name] = func(ts *testscript.TestScript, neg bool, args []string) {
			if neg {
				ts.Fatalf("%s cannot be negated", name)
			}
			if err := do(ts, state(ts), args); err != nil {
				fail(ts, "%s: %v", name, err)
			}
		}
	}
	out["see"] = see
	out["retry"] = retry
	return out
}

func state(ts *testscript.TestScript) *tale { return ts.Value(key{}).(*tale) }

// fail ends the script, with the gateway's log for who has to find out why.
func fail(ts *testscript.TestScript, format string, args ...any) {
	if t := state(ts); t.stack != nil {
		if log, err := os.ReadFile(t.stack.LogFile()); err == nil {
			ts.Logf("the gateway's log ends:\n%s", log[max(0, len(log)-6000):])
		}
	}
	ts.Fatalf(format, args...)
}

func setUp(ts *testscript.TestScript, t *tale, args []string) error {
	o := stack.Options{Dir: ts.MkAbs("stack"), Gateway: lookPath(ts, "jit-gateway")}
	for len(args) > 0 {
		switch {
		case args[0] == "-no-hosts":
			o.NoHosts, args = true, args[1:]
		case args[0] == "-no-database":
			o.NoDatabase, args = true, args[1:]
		case args[0] == "-objects" && len(args) > 1:
			extra, err := t.startObjects(ts, args[1])
			if err != nil {
				return err
			}
			o.Extra, args = extra, args[2:]
		case args[0] == "-rules" && len(args) > 1:
			o.Rules, args = "\n"+ts.ReadFile(args[1]), args[2:]
		case args[0] == "-user" && len(args) > 1:
			name, group, _ := strings.Cut(args[1], ":")
			if o.Users == nil {
				o.Users = append(o.Users, stack.DefaultUsers...)
			}
			o.Users, args = append(o.Users, stack.User{Name: name, Group: group}), args[2:]
		default:
			return fmt.Errorf("unknown argument %q", args[0])
		}
	}
	s, err := stack.Up(t.ctx, o)
	if err != nil {
		return err
	}
	t.stack = s
	ts.Setenv("CONFIG", s.Config())
	ts.Setenv("STACK", s.Dir)
	ts.Setenv("TARGETS", s.Backing) // directories of the hosts and of the database
	ts.Setenv("SSHPORT", fmt.Sprint(s.SSHPort))
	ts.Setenv("PAGE", fmt.Sprintf("https://127.0.0.1:%d", s.WebPort))
	ts.Setenv("METRICS", fmt.Sprintf("127.0.0.1:%d", s.MetricsPort))
	ts.Setenv("RECORDINGS", filepath.Join(s.Dir, "gateway", "recordings"))
	ts.Setenv("STORE", filepath.Join(s.Dir, "gateway", "jit-gateway.db"))
	ts.Setenv("AUDIT_KEY", filepath.Join(s.Dir, "gateway", "keys", "audit.pub"))
	for _, h := range []string{"web01", "web02"} {
		if host := s.Host(h); !o.NoHosts && host != nil {
			ts.Setenv(strings.ToUpper(h)+"PORT", fmt.Sprint(host.Port))
		}
	}
	users := o.Users
	if users == nil {
		users = stack.DefaultUsers
	}
	for _, u := range users {
		ts.Setenv(strings.ToUpper(u.Name), s.SSHConfig(u.Name))
	}
	for _, v := range [][2]string{{"PGHOST", "127.0.0.1"}, {"PGPORT", fmt.Sprint(s.PostgresPort)}, {"PGUSER", "alice"},
		{"PGDATABASE", "orders"}, {"PGSSLROOTCERT", filepath.Join(s.Dir, "ca.pem")}} {
		ts.Setenv(v[0], v[1])
	}
	return nil
}

func lookPath(ts *testscript.TestScript, name string) string {
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		path := filepath.Join(dir, name)
		if fi, err := os.Stat(path); err == nil && !fi.IsDir() {
			return path
		}
	}
	ts.Fatalf("%s is not on the script's PATH", name)
	return ""
}

func gateway(ts *testscript.TestScript, t *tale, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("stop, kill or start?")
	}
	switch args[0] {
	case "stop":
		return t.stack.StopGateway()
	case "kill":
		return t.stack.KillGateway()
	case "start":
		return t.stack.StartGateway(t.ctx)
	}
	return fmt.Errorf("stop, kill or start, not %q", args[0])
}

func grant(ts *testscript.TestScript, t *tale, args []string) error {
	if len(args) != 5 {
		return fmt.Errorf("usage: grant VAR USER APPROVER TARGET DURATION")
	}
	id, err := t.stack.Grant(t.ctx, args[1], args[2], args[3], args[4], "a story")
	ts.Setenv(args[0], id)
	return err
}

func ask(ts *testscript.TestScript, t *tale, args []string) error {
	if len(args) != 4 {
		return fmt.Errorf("usage: ask VAR USER TARGET DURATION")
	}
	id, err := t.stack.Ask(t.ctx, args[1], args[2], args[3], "a story")
	ts.Setenv(args[0], id)
	return err
}

func approve(ts *testscript.TestScript, t *tale, args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("usage: approve USER REQUEST…")
	}
	return t.stack.Approve(t.ctx, args[0], args[1:]...)
}

func activate(ts *testscript.TestScript, t *tale, args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("usage: activate VAR USER REQUEST")
	}
	id, err := t.stack.Activate(t.ctx, args[1], args[2])
	ts.Setenv(args[0], id)
	return err
}

func token(ts *testscript.TestScript, t *tale, args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("usage: token VAR USER TARGET")
	}
	tok, err := t.stack.Token(t.ctx, args[1], args[2])
	ts.Setenv(args[0], tok)
	return err
}

func code(ts *testscript.TestScript, t *tale, args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: code VAR USER")
	}
	c, err := t.stack.Code(args[1])
	ts.Setenv(args[0], c)
	return err
}

// secret notes the second factor of somebody who enrolled in the story itself.
func secret(ts *testscript.TestScript, t *tale, args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: secret USER SECRET")
	}
	t.stack.Secrets[args[0]] = args[1]
	return t.stack.Save()
}

// patience is how long a story waits for what must come.
const patience = 10 * time.Second
