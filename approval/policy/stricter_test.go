package policy

import (
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"jit-gateway/internal/inventory"
)

type inventoryTarget = inventory.Target

func TestStricterTakesTheStricter(t *testing.T) {
	a, b := rule(), rule()
	a.MaxDuration, b.MaxDuration = Duration(8*time.Hour), Duration(time.Hour)
	a.Factor = Factor{Kinds: []string{"totp", "passkey"}, MaxAge: Duration(time.Hour)}
	b.Factor = Factor{Kinds: []string{"passkey"}, Per: "session"}
	a.Channels = &Channels{Shell: true, Exec: true, ExecPatterns: []string{"systemctl *", "ls"}, SFTP: "both", SFTPPaths: []string{"/srv"}, Local: []string{"*:5432"}, ForceCommand: ""}
	b.Channels = &Channels{Exec: true, ExecPatterns: []string{"systemctl restart *"}, SFTP: "read", SFTPPaths: []string{"/srv/www", "/etc"}, Local: []string{"db:5432", "web:80"}, Agent: true}
	a.Budget, b.Budget = Budget{Rows: 10, Per: "grant"}, Budget{Rows: 100, Bytes: 5}
	a.Recording, b.Recording = Recording{Strict: true, Index: "full", RetainDays: 90}, Recording{Input: true, Index: "metadata", RetainDays: 30}
	a.Session.Max, b.Session.Max = 3, 0
	a.Tunnel, b.Tunnel, a.Direct, b.Direct = true, false, true, true
	got := Stricter(a, b)
	c := got.SSH()
	for what, ok := range map[string]bool{
		"max_duration": got.Max() == time.Hour, "factor.kinds": slices.Equal(got.Factor.Kinds, []string{"passkey"}), "factor.per": got.Factor.Per == "session",
		"factor.max_age": got.Factor.MaxAge.Std() == time.Hour, "shell": !c.Shell, "exec": c.Exec, "exec_patterns": slices.Equal(c.ExecPatterns, []string{"systemctl restart *"}),
		"sftp": c.SFTP == "read", "sftp_paths": slices.Equal(c.SFTPPaths, []string{"/srv/www"}), "local": slices.Equal(c.Local, []string{"db:5432"}), "agent": !c.Agent,
		"budget": got.Budget == Budget{Rows: 10, Bytes: 5, Per: "grant"}, "recording": got.Recording.Strict && got.Recording.Input && got.Recording.Index == "metadata" && got.Recording.RetainDays == 90,
		"session.max": got.Session.Max == 3, "tunnel": !got.Tunnel, "direct": got.Direct,
	} {
		if !ok {
			t.Errorf("%s: %+v", what, got)
		}
	}
	if got := Stricter(a, a); got.Hash() != a.Hash() {
		t.Error("a rule with itself is another one")
	}
	a.Factor.Kinds, b.Factor.Kinds = []string{"totp"}, []string{"passkey"}
	a.Sources, b.Sources = nets("10.0.0.0/8"), nets("192.0.2.0/24")
	a.Channels.ExecPatterns, b.Channels.ExecPatterns = []string{"ls"}, []string{"ps"}
	a.Channels.SFTPPaths, b.Channels.SFTPPaths = []string{"/a"}, []string{"/ab"}
	got = Stricter(a, b)
	if !slices.Equal(got.Factor.Kinds, []string{"none"}) || got.Sources[0].Contains(netip.MustParseAddr("10.1.2.3")) || got.SSH().Exec || got.SSH().SFTP != "" {
		t.Errorf("nothing in common must allow nothing: %+v", got)
	}
}

// Whatever two rules are combined, the result allows nothing that either
// forbids: commands, paths, forwards, flags.
func TestStricterNeverAllowsMore(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	pick := func(from ...string) []string {
		var out []string
		for _, s := range from {
			if rng.IntN(2) == 0 {
				out = append(out, s)
			}
		}
		return out
	}
	random := func() Channels {
		return Channels{Shell: rng.IntN(2) == 0, Exec: rng.IntN(4) > 0, Agent: rng.IntN(2) == 0, SFTP: []string{"", "read", "write", "both"}[rng.IntN(4)],
			ExecPatterns: pick("ls", "ls *", "*", "l?", "systemctl *"), SFTPPaths: pick("/", "/srv", "/srv/www", "/etc/"),
			Env: pick("LANG", "LC_*", "*"), Local: pick("*:5432", "db:*", "db:5432"), Remote: pick("*:80", "*"), ForceCommand: strings.Join(pick("date"), "")}
	}
	exec := func(c Channels, cmd string) bool {
		return c.Exec && (len(c.ExecPatterns) == 0 || globAny(c.ExecPatterns, cmd))
	}
	path := func(c Channels, p string) bool {
		return c.SFTP != "" && (len(c.SFTPPaths) == 0 || slices.ContainsFunc(c.SFTPPaths, func(d string) bool {
			d = strings.TrimSuffix(d, "/")
			return p == d || strings.HasPrefix(p, d+"/")
		}))
	}
	for range 20_000 {
		a, b := random(), random()
		c := stricterChannels(a, b)
		for _, cmd := range []string{"ls", "ls /", "lx", "systemctl restart nginx", "rm"} {
			if exec(c, cmd) && !(exec(a, cmd) && exec(b, cmd)) {
				t.Fatalf("%q is allowed by %+v, made of %+v and %+v", cmd, c, a, b)
			}
		}
		for _, p := range []string{"/srv", "/srv/www/x", "/etc/passwd", "/srvx", "/root"} {
			if path(c, p) && !(path(a, p) && path(b, p)) {
				t.Fatalf("%q is allowed by %+v, made of %+v and %+v", p, c, a, b)
			}
		}
		for _, f := range []string{"db:5432", "db:1", "web:5432", "x:80"} {
			if globAny(c.Local, f) && !(globAny(a.Local, f) && globAny(b.Local, f)) || globAny(c.Remote, f) && !(globAny(a.Remote, f) && globAny(b.Remote, f)) {
				t.Fatalf("forward %q is allowed by %+v, made of %+v and %+v", f, c, a, b)
			}
		}
		if c.Shell && !(a.Shell && b.Shell) || c.Agent && !(a.Agent && b.Agent) || c.ForceCommand == "" && (a.ForceCommand != "" || b.ForceCommand != "") {
			t.Fatalf("%+v, made of %+v and %+v", c, a, b)
		}
	}
}

// A field that is added to Rule must be thought of in Stricter.
func TestStricterKnowsEveryField(t *testing.T) {
	known := map[string]int{"Rule": 31, "Factor": 5, "Channels": 10, "Budget": 4, "Recording": 8, "Session": 5, "Postgres": 3}
	for _, v := range []any{Rule{}, Factor{}, Channels{}, Budget{}, Recording{}, Session{}, Postgres{}} {
		typ := reflect.TypeOf(v)
		if typ.NumField() != known[typ.Name()] {
			t.Errorf("%s has %d fields, Stricter was written for %d: look at it, then change this number", typ.Name(), typ.NumField(), known[typ.Name()])
		}
	}
}

func TestWindowCloses(t *testing.T) {
	r := rule()
	office(&r)
	s, err := NewSet([]Rule{r})
	if err != nil {
		t.Fatal(err)
	}
	for start, want := range map[string]string{
		"2026-11-24T16:30:00Z": "2026-11-24T17:00:00Z", "2026-11-24T09:30:00Z": "2026-11-24T17:00:00Z",
		"2026-11-24T17:00:00Z": "2026-11-24T17:00:00Z", // closed already
		"2026-07-14T15:59:30Z": "2026-07-14T16:00:00Z", // summer
	} {
		if got := s.Closes("web", at(start), at(start).Add(12*time.Hour)); !got.Equal(at(want)) {
			t.Errorf("from %s: closes %s, want %s", start, got, want)
		}
	}
	if end := at("2026-11-24T10:00:00Z"); !s.Closes("web", at("2026-11-24T09:00:00Z"), end).Equal(end) {
		t.Error("a window inside the hours was cut")
	}
	// Over the hour that comes twice: 02:00 to 04:00 lasts three hours that night.
	r.Hours = &Hours{From: "02:00", To: "04:00", Zone: "Europe/Berlin"}
	if s, err = NewSet([]Rule{r}); err != nil {
		t.Fatal(err)
	}
	if got := s.Closes("web", at("2026-10-25T00:00:00Z"), at("2026-10-25T12:00:00Z")); !got.Equal(at("2026-10-25T03:00:00Z")) {
		t.Errorf("closes %s", got)
	}
}
