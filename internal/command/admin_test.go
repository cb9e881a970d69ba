package command

import (
	"regexp"
	"strings"
	"testing"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/store"
)

func ev() audit.Event { return audit.Event{Type: audit.KeyRemoved, Outcome: audit.Success} }

func TestInviteAndEnroll(t *testing.T) {
	story(t, func(w *world) {
		var inv inviteJSON
		w.json(&inv, "local", "", "user", "invite", "dora", "--group", "sre")
		if want := "ssh -t -p 2222 enroll@gw.example enroll " + inv.Code; inv.Command != want {
			w.Errorf("command %q", inv.Command)
		}
		if len(inv.Gateway) != 2 || !strings.HasSuffix(inv.Gateway[0], " (ED25519)") || !strings.HasSuffix(inv.Gateway[1], " (ECDSA)") {
			w.Errorf("the keys to compare are %q", inv.Gateway)
		}
		// An unknown key may run enroll and nothing else.
		w.fails(Failed, "stranger", "", []string{"targets"}, "This key is not registered")
		w.fails(Failed, "stranger", "", []string{"user", "list"}, "not registered")
		w.fails(Failed, "stranger", "", []string{"enroll", "WRONG"}, "not valid")
		w.fails(Usage, "stranger", "", []string{"enroll"}, "enroll CODE")

		p := w.tty(w.Context(), "stranger", "enroll", strings.ToLower(inv.Code))
		p.see("Secret: ")
		p.see("otpauth://")
		p.see("shows now: ")
		secret := regexp.MustCompile(`Secret: ([A-Z2-7]+)`).FindStringSubmatch(p.out.String())
		if secret == nil || !strings.Contains(p.out.String(), "█") {
			w.Fatalf("no secret or no QR code:\n%s", p.out)
		}
		w.secrets["dora"] = secret[1]
		p.types("000000\r")
		p.see("That code is wrong")
		p.types(w.code("dora") + "\r")
		p.see("key and second factor are registered")
		p.see("Recovery codes")
		if s := p.leaves(); s != OK {
			w.Fatalf("status %d\n%s", s, p.out)
		}
		w.keys["dora"] = w.keys["stranger"]
		if out := w.ok("dora", "", "whoami"); !strings.Contains(out, "dora") || !strings.Contains(out, "totp") || !strings.Contains(out, "codes are left") {
			w.Error(out)
		}
		// Once.
		delete(w.keys, "stranger")
		w.fails(Failed, "stranger", "123456\n", []string{"enroll", inv.Code}, "not valid")
		// Another key is registered with a code that costs a code.
		w.fails(Failed, "dora", "000000\n000000\n000000\n", []string{"enroll", "--new-key"})
		w.json(&inv, "dora", w.code("dora")+"\n", "enroll", "--new-key")
		w.ok("stranger", "n\n", "enroll", inv.Code)
		keys, err := w.db.Keys(w.Context(), w.as("dora").User.ID)
		if err != nil || len(keys) != 2 {
			w.Errorf("%d keys, %v", len(keys), err)
		}
		// A lost phone: the administrator's code replaces the factor.
		w.json(&inv, "local", "", "user", "invite", "dora")
		p = w.tty(w.Context(), "dora", "enroll", inv.Code)
		p.see("Replace it with a new one? [y/N]: ")
		p.types("y\r")
		p.see("shows now: ")
		all := regexp.MustCompile(`Secret: ([A-Z2-7]+)`).FindAllStringSubmatch(p.out.String(), -1)
		w.secrets["dora"] = all[len(all)-1][1]
		p.types(w.code("dora") + "\r")
		p.see("Recovery codes")
		if s := p.leaves(); s != OK {
			w.Errorf("status %d", s)
		}
	})
}

// Somebody who turns back at the QR code has spent nothing.
func TestEnrollTurnsBack(t *testing.T) {
	story(t, func(w *world) {
		var inv inviteJSON
		w.json(&inv, "local", "", "user", "invite", "dora")
		w.fails(Failed, "stranger", "", []string{"enroll", inv.Code}, "the one-time code is still good")
		p := w.tty(w.Context(), "stranger", "enroll", inv.Code)
		p.see("shows now: ")
		p.types("\x03")
		p.see("still good")
		if s := p.leaves(); s != Failed {
			w.Errorf("status %d", s)
		}
		if _, err := identity.OpenInvite(w.Context(), w.db, inv.Code, w.r.o.Now()); err != nil {
			w.Error(err)
		}
		// Another user's key cannot take it.
		w.fails(Failed, "alice", "", []string{"enroll", inv.Code}, "belongs to alice")
	})
}

func TestUsers(t *testing.T) {
	story(t, func(w *world) {
		key := keyLine(newKey(w.T))
		w.ok("local", key+" comment\n", "user", "add", "dora", "--group", "sre,leads", "--key", "-")
		if out := w.ok("carol", "", "user", "list"); !strings.Contains(out, "dora   human  active  leads,sre  1") {
			w.Error(out)
		}
		w.fails(Failed, "local", key+"\n", []string{"user", "add", "dave", "--key", "-"}, "registered already")
		w.fails(Failed, "local", "", []string{"user", "add", "dora"}, "already")
		w.fails(Usage, "local", "", []string{"user", "add", "Not A Name"})
		w.fails(Usage, "local", "", []string{"user", "add", "ci", "--machine"}, "--owner")
		w.fails(Usage, "local", "", []string{"user", "add", "ci", "--machine", "--owner", "alice"}, "--source 192.0.2.7")
		w.ok("local", "", "user", "add", "ci", "--machine", "--owner", "alice", "--source", "192.0.2.7")
		w.ok("local", "", "user", "set", "dora", "--remove-group", "leads", "--add-group", "admins", "--valid-until", "2030-01-31")
		u, err := w.db.UserByName(w.Context(), "dora")
		w.must(err)
		if strings.Join(u.Groups, ",") != "admins,sre" || u.ValidUntil.Format("2006-01-02") != "2030-02-01" {
			w.Errorf("%+v", u)
		}
		w.fails(Usage, "local", "", []string{"user", "set", "dora"}, "Nothing would change")
		w.fails(Failed, "local", "", []string{"user", "set", "nobody", "--add-group", "x"}, "no user nobody")
		if out := w.ok("local", "", "user", "key", "dora"); !strings.Contains(out, "SHA256:") {
			w.Error(out)
		}
		// An administrator over ssh gives a code; others are refused, which is in the log.
		w.fails(Failed, "alice", "", []string{"user", "add", "eve"}, "for administrators")
		w.fails(Failed, "erin", "000000\n000000\n000000\n", []string{"user", "add", "eve"})
		w.ok("erin", w.code("erin")+"\n", "user", "add", "eve")
		w.fails(Failed, "erin", "", []string{"user", "disable", "erin"}, "another administrator")
		w.ok("erin", "", "user", "disable", "eve", "--reason", "left")
		if out := w.ok("carol", "", "audit", "tail", "--json", "-n", "500"); !strings.Contains(out, "That is for administrators.") ||
			!strings.Contains(out, `"user.disabled"`) || !strings.Contains(out, `"command.refused"`) {
			w.Error("not in the log")
		}
	})
}

func TestTargets(t *testing.T) {
	story(t, func(w *world) {
		w.ok("local", "", "target", "add", "web03", "--ssh", "192.0.2.3", "--login", "deploy", "--host-key", hostKey, "--label", "role=web", "--alias", "www3")
		if tg, ok := w.inv.Target("www3"); !ok || tg.Labels["role"] != "web" || tg.Source != "store" {
			w.Errorf("%+v %v", tg, ok)
		}
		if out := w.ok("erin", "", "target", "list"); !strings.Contains(out, "web03   ssh       192.0.2.3") {
			w.Error(out)
		}
		// Again: a change, not an error; from the configuration: refused.
		w.ok("erin", w.code("erin")+"\n", "target", "add", "web03", "--ssh", "192.0.2.33", "--login", "deploy", "--host-key", hostKey)
		w.fails(Failed, "local", "", []string{"target", "add", "web01", "--ssh", "192.0.2.3", "--login", "deploy", "--host-key", hostKey}, "configuration")
		w.fails(Failed, "local", "", []string{"target", "add", "web04", "--alias", "web01", "--ssh", "192.0.2.3", "--login", "x", "--host-key", hostKey}, "taken by the target web01")
		w.fails(Failed, "local", "", []string{"target", "add", "web04", "--ssh", "192.0.2.3", "--login", "x"}, "host_keys")
		w.fails(Usage, "local", "", []string{"target", "add", "web04", "--login", "x"}, "--ssh ADDRESS or --postgres")
		w.ok("local", "", "target", "add", "shop", "--postgres", "127.0.0.1", "--login", "shop_ro", "--tls", "disable", "--identity", "static", "--static", "shop_ro=env:SHOP")

		list := `[{"name":"db9","kind":"ssh","ssh":{"address":"192.0.2.9","logins":["x"],"host_keys":["` + hostKey + `"]}}]`
		w.ok("local", list, "target", "import", "--dry-run")
		if _, ok := w.inv.Target("db9"); ok {
			w.Error("a dry run changed something")
		}
		w.ok("local", list, "target", "import")
		w.fails(Failed, "local", strings.Replace(list, `"kind"`, `"kin"`, 1), []string{"target", "import"}, "kin")
		w.fails(Usage, "local", "", []string{"target", "import"}, "stdin")
		w.ok("local", "", "target", "remove", "db9", "web03")
		w.fails(Failed, "local", "", []string{"target", "remove", "web01"}, "comes from config")
		w.fails(Failed, "local", "", []string{"target", "remove", "db9"}, "no target db9")

		if out := w.ok("local", "", "target", "check", "web01"); !strings.Contains(out, "ok    web01: host key") {
			w.Error(out)
		}
		r := w.fails(Failed, "local", "", []string{"target", "check"}, "with trouble")
		if !strings.Contains(r.out, "FAIL  web02: host key") || !strings.Contains(r.out, "pin the new key") {
			w.Error(r.out)
		}
	})
}

func TestConfigWebCAWhoami(t *testing.T) {
	story(t, func(w *world) {
		out := w.ok("alice", "", "config")
		for _, want := range []string{"Host jit-gateway\n    HostName gw.example\n    Port 2222\n    HostKeyAlias jit-gateway\n    User alice\n",
			"Host web01 web02\n    ProxyJump jit-gateway\n", "\njit-gateway ssh-ed25519 ", "@cert-authority web01,web02 ssh-ed25519 "} {
			if !strings.Contains(out, want) {
				w.Errorf("no %q in\n%s", want, out)
			}
		}
		if out := w.ok("alice", "", "config", "--known-hosts"); strings.Contains(out, "Host ") {
			w.Error(out)
		}
		if out := w.ok("alice", "", "web", "--no-qr"); out != "https://gw.example:8443/sign-in?t=abc\n" {
			w.Errorf("%q", out)
		}
		if out := w.ok("alice", "", "ca", "show", "user"); !strings.HasPrefix(out, "ssh-ed25519 ") || strings.Count(out, "\n") != 1 {
			w.Error(out)
		}
		var all caJSON
		w.json(&all, "local", "", "ca", "show")
		if len(all.GatewayKeys) == 0 || !strings.Contains(all.PageCA, "BEGIN CERTIFICATE") || !strings.Contains(all.ClientCA, "BEGIN CERTIFICATE") {
			w.Errorf("%+v", all)
		}
		if out := w.ok("local", "", "whoami"); !strings.Contains(out, "local administrator") {
			w.Error(out)
		}
		w.fails(Failed, "local", "", []string{"request", "web01"}, "admin.sock has none")
	})
}

func TestEvidenceAndAudit(t *testing.T) {
	story(t, func(w *world) {
		g := w.grant("deploy@web01")
		if out := w.ok("carol", "", "evidence", g); out != "PK "+g {
			w.Errorf("%q", out)
		}
		w.fails(Failed, "alice", "", []string{"audit", "tail"}, "for auditors")
		out := w.ok("carol", "", "audit", "tail", "-n", "200")
		for _, want := range []string{"request.filed", "request.approved", "grant.activated", g} {
			if !strings.Contains(out, want) {
				w.Errorf("no %s in\n%s", want, out)
			}
		}
		if out := w.ok("carol", "", "audit", "export"); !strings.Contains(out, `"grant.activated"`) {
			w.Error("nothing exported")
		}
		// Nothing is signed here: that is what verification must say.
		if r := w.run("carol", "", "audit", "verify"); r.status != Failed || !strings.Contains(r.out, "NOT intact") {
			w.Errorf("%d %s %s", r.status, r.out, r.err)
		}
		if out := w.ok("carol", "", "audit", "tail", "-n", "5", "--json"); strings.Count(out, "\n") != 5 || !strings.Contains(out, "audit.read") {
			w.Error(out)
		}
	})
}

func TestG11NamesOfOthersAreEscaped(t *testing.T) {
	story(t, func(w *world) {
		evil := "x\x1b]52;c;cm0=\x07\u202e"
		id := strings.TrimSpace(w.ok("alice", "", "request", "deploy@web01", "--reason", evil))
		for _, args := range [][]string{{"requests"}, {"requests", id}, {"requests", "--json"}} {
			if out := w.ok("bob", "", args...); strings.ContainsAny(out, "\x1b\x07\u202e") {
				w.Errorf("%v: %q", args, out)
			}
		}
		w.ok("bob", "", "deny", id, "--reason", evil)
		r := w.fails(Failed, "alice", "", []string{"activate", evil})
		if strings.ContainsAny(r.err, "\x1b\x07\u202e") {
			w.Errorf("%q", r.err)
		}
	})
}

// G6: once there are two administrators, what widens access needs both.
func TestG6SecondAdministrator(t *testing.T) {
	story(t, func(w *world) {
		// One administrator is enough while there is one; an alternate account of theirs is no second.
		w.ok("erin", w.code("erin")+"\n", "user", "add", "dora", "--group", "leads")
		w.user("erin2", "admins")
		u := w.as("erin2").User
		u.Owner = "Uerin"
		w.must(w.db.UpdateUser(w.Context(), u, ev()))
		w.ok("erin", w.code("erin")+"\n", "user", "set", "dora", "--add-group", "sre")

		w.user("frank", "admins")
		for name, args := range map[string][]string{
			"group": {"user", "set", "alice", "--add-group", "leads"}, "user": {"user", "add", "gus", "--group", "leads"}, "invite": {"user", "invite", "bob"},
			"key":    {"user", "key", "bob", "--add", keyLine(newKey(w.T))},
			"target": {"target", "add", "web09", "--ssh", "192.0.2.9", "--login", "root", "--host-key", hostKey},
		} {
			r := w.run("erin", w.code("erin")+"\n", args...)
			if r.status != OK || !strings.Contains(r.err, "waits for a second administrator") {
				w.Errorf("%s: %+v", name, r)
			}
		}
		alice := w.as("alice").User
		if _, err := w.db.UserByName(w.Context(), "gus"); err == nil || alice.In("leads") {
			w.Error("a change was made by one administrator")
		}
		if _, ok := w.inv.Target("web09"); ok {
			w.Error("a target was added by one administrator")
		}
		// What takes away does not wait.
		w.ok("erin", w.code("erin")+"\n", "user", "set", "dora", "--remove-group", "sre")
		w.ok("erin", "", "user", "disable", "dora")
		r := w.run("erin", w.code("erin")+"\n", "user", "enable", "dora")
		if !strings.Contains(r.err, "waits for a second") {
			w.Errorf("%+v", r)
		}

		var acts []struct{ ID, Summary string }
		w.json(&acts, "frank", "", "confirm")
		if len(acts) != 6 {
			w.Fatalf("%d changes wait: %+v", len(acts), acts)
		}
		var ids []string
		for _, a := range acts {
			ids = append(ids, a.ID)
		}
		// Not by who asked, under any account, nor by who is no administrator, nor without a code.
		w.fails(Failed, "erin", w.code("erin")+"\n", []string{"confirm", ids[0]}, "yourself")
		w.fails(Failed, "erin2", w.code("erin2")+"\n", []string{"confirm", ids[0]}, "yourself")
		w.fails(Failed, "bob", w.code("bob")+"\n", []string{"confirm", ids[0]}, "for administrators")
		w.fails(Failed, "local", "", []string{"confirm", ids[0]}, "second administrator")
		w.fails(Failed, "frank", "000000\n000000\n000000\n", []string{"confirm", ids[0]})
		w.ok("frank", w.code("frank")+"\n", append([]string{"confirm"}, ids[1:]...)...)
		w.ok("erin", w.code("erin")+"\n", "confirm", ids[0], "--refuse", "--note", "changed my mind")
		w.fails(Failed, "frank", w.code("frank")+"\n", []string{"confirm", ids[0]}, "does not wait any more")
		if gus, err := w.db.UserByName(w.Context(), "gus"); err != nil || !gus.In("leads") {
			w.Errorf("%+v %v", gus, err)
		}
		if _, ok := w.inv.Target("web09"); !ok || !w.as("alice").User.In("leads") {
			w.Error("a confirmed change was not made")
		}
	})
}

func TestFindings(t *testing.T) {
	story(t, func(w *world) {
		w.ok("carol", "", "findings")
		w.fails(Failed, "alice", "", []string{"findings"}, "for auditors")
		w.must(w.db.RaiseFinding(w.Context(), store.Finding{ID: "F1234", Code: "first_target", UserID: "Ualice", Text: "first time\x1b[2J", RaisedAt: w.r.o.Now()}, ev()))
		if out := w.ok("carol", "", "findings"); !strings.Contains(out, "F1234 (first_target)") || strings.Contains(out, "\x1b") {
			w.Errorf("%q", out)
		}
		w.fails(Usage, "carol", "", []string{"findings", "F1234"}, "--note")
		w.ok("carol", "", "findings", "f1234", "--note", "a new colleague")
		if out := w.ok("carol", "", "findings", "--all"); !strings.Contains(out, "by carol: a new colleague") {
			w.Error(out)
		}
	})
}
