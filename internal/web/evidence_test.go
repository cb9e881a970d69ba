package web_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"jit-gateway/approval"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/evidence"
	"jit-gateway/internal/web"
	"jit-gateway/recording"
	"jit-gateway/session"
)

// logKey is a log's key pair.
func logKey(t *testing.T) (*audit.Signer, string) {
	t.Helper()
	skey, vkey, err := audit.GenerateKey("jit-gateway.test/log")
	check(t, err)
	signer, err := audit.NewSigner(skey)
	check(t, err)
	return signer, vkey
}

// pack is what `evidence GRANT` writes.
func (s *site) pack(t *testing.T, grant string, signer *audit.Signer) []byte {
	t.Helper()
	script, style, err := web.PlayerFiles()
	check(t, err)
	u, err := url.Parse(s.URL)
	check(t, err)
	w, err := evidence.New(evidence.Options{Store: s.DB, Recordings: s.Recordings, Gateway: "jit-gateway", Origin: "jit-gateway.test/log", Site: u.Hostname(),
		Sign:     (&audit.Checkpointer{Log: s.DB, Source: s.DB, Signer: signer, Now: s.Clock.Now}).Sign,
		SignText: signer.SignText,
		Player:   &evidence.Player{Script: script, Style: style}, Now: s.Clock.Now})
	check(t, err)
	var b bytes.Buffer
	check(t, w.Write(t.Context(), grant, &b))
	return b.Bytes()
}

// passkeyGrant is a grant that bob approved on the page with a passkey, and
// its ended session.
func (s *site) passkeyGrant(t *testing.T) session.Row {
	t.Helper()
	r := s.ask(t, "web01", "deploy", "nginx 502s <script>alert(1)</script>, INC-4211", time.Hour)
	b := s.browser(t, 1280).signIn("bob")
	b.newPasskey("bob", "key")
	b.open("/requests/" + r.ID)
	b.click("form[action$=approve] [data-passkey]")
	got, err := s.DB.Request(t.Context(), r.ID)
	check(t, err)
	if got.State != approval.Approved {
		t.Fatalf("the request is %s\n%s", got.State, b.dump())
	}
	g, err := s.approvals.Activate(t.Context(), caller("alice"), got.GrantID, s.proof(t, "alice"))
	check(t, err)
	adm, err := s.approvals.Admit(t.Context(), approval.AdmitInput{Caller: caller("alice"), Target: "web01", Login: "deploy", GrantID: g.ID})
	check(t, err)
	live, err := s.Sessions.Begin(t.Context(), adm, session.Meta{Protocol: "ssh", Source: "192.0.2.7", Client: "OpenSSH_9.2p1"})
	check(t, err)
	play(t, live.Recorder())
	check(t, live.Recorder().Event(recording.Event{Channel: 1, Payload: recording.Exec{Command: "id; echo </script><b>"}}))
	check(t, live.Finish(t.Context(), session.Outcome{}))
	_, err = s.approvals.Release(t.Context(), caller("alice"), g.ID)
	check(t, err)
	return live.Row()
}

// The pack verifies offline, its summary opens from the disk and plays, loads
// nothing and runs nothing but its own; and whatever is changed in it is found.
func TestEvidencePack(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	row := s.passkeyGrant(t)
	other := s.usedGrant(t)
	signer, vkey := logKey(t)
	raw := s.pack(t, row.GrantID, signer)
	res, err := evidence.Verify(bytes.NewReader(raw), int64(len(raw)), vkey)
	check(t, err)
	if !res.OK() {
		t.Fatalf("an honest pack does not hold:\n%s", res)
	}
	for _, want := range []string{"bob, not the requester, approved it with passkey", "the passkey of bob signed exactly this, on localhost", "the log has the approval of bob",
		"is the sealed one", "the window was from", "the list of sessions is that of the log", "are all that it had on grant " + row.GrantID, "summary.html"} {
		if !strings.Contains(res.String(), want) {
			t.Errorf("the verification does not say %q:\n%s", want, res)
		}
	}
	files := unzip(t, raw)
	t.Run("summary", func(t *testing.T) { s.summaryPlays(t, row, files["summary.html"]) })
	t.Run("tampering", func(t *testing.T) { tamper(t, files, signer, vkey, row) })
	t.Run("left out or brought in", func(t *testing.T) { regroup(t, files, unzip(t, s.pack(t, other.GrantID, signer)), vkey, row.ID, other) })
}

func (s *site) summaryPlays(t *testing.T, row session.Row, html []byte) {
	path := filepath.Join(t.TempDir(), "summary.html")
	check(t, os.WriteFile(path, html, 0o600))
	b := s.browser(t, 1280)
	b.open("file://" + path)
	b.sees("this page is not signed", "nginx 502s <script>alert(1)</script>, inc-4211", "by bob with passkey", row.ID, "the factor's assertion")
	b.until(`document.querySelector(".ap-player")`)
	b.click2(".player .ap-overlay-start, .player .ap-play-button")
	b.sees("sudo systemctl restart nginx")
	if got := eval[string](b, `(() => { document.querySelectorAll("details").forEach(d => d.open = true); return document.body.innerText })()`); !strings.Contains(got, "id; echo </script><b>") || !strings.Contains(got, "grant.activated") {
		t.Errorf("the summary leaves out what happened:\n%s", got)
	}
	if c := b.complaints(); len(c) > 0 {
		t.Errorf("the console says %q", c)
	}
	b.wide(1280)
	axe, err := os.ReadFile("testdata/axe.min.js")
	check(t, err)
	if found := b.axe(string(axe)); found != "" {
		t.Errorf("axe: %s", found)
	}
	if dir := os.Getenv("JIT_SCREENSHOTS"); dir != "" {
		b.picture(filepath.Join(dir, "summary-desk-light.png"))
	}
	// It may load nothing, and run nothing that somebody puts into it.
	if n := eval[int](b, `performance.getEntriesByType("resource").filter(e => !e.name.startsWith("data:")).length`); n != 0 {
		t.Errorf("the summary loads %d things", n)
	}
	if status := eval[string](b, `fetch("`+s.URL+`/sign-in", {mode: "no-cors"}).then(() => "sent", () => "refused")`); status != "refused" {
		t.Error("the summary may send to elsewhere")
	}
	b.complaints()
	evil := strings.Replace(string(html), "</main>", `</main><script>window.evil = 1</script><img src="`+s.URL+`/x" onerror="window.evil = 2">`, 1)
	check(t, os.WriteFile(path, []byte(evil), 0o600))
	b.open("file://" + path)
	if eval[bool](b, `!!window.evil`) {
		t.Error("a script that was put into the summary runs")
	}
}

// usedGrant is another grant of alice's, with two sessions.
func (s *site) usedGrant(t *testing.T) session.Row {
	t.Helper()
	live := s.begin(t, "web02", "deploy", "two sessions", "ssh")
	play(t, live.Recorder())
	adm, err := s.approvals.Admit(t.Context(), approval.AdmitInput{Caller: caller("alice"), Target: "web02", Login: "deploy", GrantID: live.Row().GrantID})
	check(t, err)
	second, err := s.Sessions.Begin(t.Context(), adm, session.Meta{Protocol: "ssh", Source: "192.0.2.7"})
	check(t, err)
	check(t, live.Finish(t.Context(), session.Outcome{}))
	check(t, second.Finish(t.Context(), session.Outcome{}))
	return second.Row()
}

// regroup leaves out what is true, and brings in what is true of something
// else: each event of it is proved, and still the pack does not hold.
func regroup(t *testing.T, one, two map[string][]byte, vkey, session string, last session.Row) {
	verify := func(files map[string][]byte) evidence.Result {
		raw := rezip(t, files)
		res, err := evidence.Verify(bytes.NewReader(raw), int64(len(raw)), vkey)
		check(t, err)
		return res
	}
	if res := verify(two); !res.OK() {
		t.Fatalf("an honest pack of two sessions does not hold:\n%s", res)
	}
	// A session that never was: its events, its recording and its line are gone.
	less := maps.Clone(two)
	for name, b := range two {
		if strings.HasPrefix(name, "events/") && strings.HasSuffix(name, ".json") && bytes.Contains(b, []byte(last.ID)) {
			delete(less, name)
			delete(less, strings.TrimSuffix(name, ".json")+".proof")
		}
	}
	delete(less, "recordings/"+last.ID+".jitrec")
	var rows []map[string]any
	check(t, json.Unmarshal(two["sessions.json"], &rows))
	rows = slices.DeleteFunc(rows, func(r map[string]any) bool { return r["id"] == last.ID })
	if len(rows) != 1 {
		t.Fatalf("the list of sessions has no %s: %s", last.ID, two["sessions.json"])
	}
	less["sessions.json"], _ = json.Marshal(rows)
	if res := verify(less); res.OK() || !strings.Contains(res.String(), "events are not in the pack") {
		t.Errorf("a session was left out, and the pack holds:\n%s", res)
	}
	// What another grant did.
	more := maps.Clone(one)
	for name, b := range two {
		if strings.HasPrefix(name, "events/") && one[name] == nil {
			more[name] = b
		}
	}
	if res := verify(more); res.OK() || !strings.Contains(res.String(), "that are not the grant's") {
		t.Errorf("another grant's events were brought in, and the pack holds:\n%s", res)
	}
	for _, name := range []string{"manifest.json", "manifest.note"} {
		swapped := maps.Clone(one)
		swapped[name] = two[name]
		if res := verify(swapped); res.OK() {
			t.Errorf("another grant's %s, and the pack holds:\n%s", name, res)
		}
	}
	bare := maps.Clone(one)
	delete(bare, "manifest.note")
	if res := verify(bare); res.OK() || !strings.Contains(res.String(), "nothing shows that the pack is whole") {
		t.Errorf("without its signature the pack holds:\n%s", res)
	}
}

// tamper changes one thing at a time. The gateway's signature over what belongs
// to the pack must find it; and so must what is behind it, for which the
// manifest is signed anew, as nobody but the gateway could.
func tamper(t *testing.T, files map[string][]byte, signer *audit.Signer, vkey string, row session.Row) {
	event := func(kind audit.Type) string {
		for name, b := range files {
			if strings.HasPrefix(name, "events/") && strings.HasSuffix(name, ".json") && bytes.Contains(b, []byte(`"type":"`+string(kind)+`"`)) {
				return strings.TrimSuffix(name, ".json")
			}
		}
		t.Fatalf("there is no event %s", kind)
		return ""
	}
	edit := func(name, old, new string) func(map[string][]byte) {
		return func(f map[string][]byte) {
			if !bytes.Contains(f[name], []byte(old)) {
				t.Errorf("%s has no %q", name, old)
			}
			f[name] = bytes.Replace(f[name], []byte(old), []byte(new), 1)
		}
	}
	without := func(names ...string) func(map[string][]byte) {
		return func(f map[string][]byte) {
			for _, n := range names {
				if _, ok := f[n]; !ok {
					t.Errorf("there is no %s", n)
				}
				delete(f, n)
			}
		}
	}
	rec := "recordings/" + row.ID + ".jitrec"
	approved := event(audit.RequestApproved)
	for name, change := range map[string]func(map[string][]byte){
		"another reason in the request": edit("request.json", "INC-4211", "INC-9999"), "another approver": edit("request.json", `"user": "bob"`, `"user": "eve"`),
		"another approver's id": edit("request.json", `"user_id": "Ubob"`, `"user_id": "Ueve"`), "another factor": edit("request.json", `"kind": "passkey"`, `"kind": "totp"`),
		"another window":    func(f map[string][]byte) { f["grant.json"] = moveEnd(t, f["grant.json"]) },
		"another requester": edit("grant.json", `"user_id": "Ualice"`, `"user_id": "Ucarol"`),
		"another target":    edit("sessions.json", `"target": "web01"`, `"target": "web02"`),
		"another's session": edit("sessions.json", `"user_id": "Ualice"`, `"user_id": "Ucarol"`),
		"a session less":    func(f map[string][]byte) { f["sessions.json"] = []byte("[]") },
		"a changed event":   edit(approved+".json", "bob", "eve"),
		"no approval":       without(approved+".json", approved+".proof"),
		"no activation":     without(event(audit.GrantActivated)+".json", event(audit.GrantActivated)+".proof"),
		"no session end":    without(event(audit.SessionEnded)+".json", event(audit.SessionEnded)+".proof"),
		"an event in its place": func(f map[string][]byte) {
			f[approved+".json"], f[approved+".proof"] = f[event(audit.SessionStarted)+".json"], f[event(audit.SessionStarted)+".proof"]
		},
		"a proof of another": func(f map[string][]byte) { f[approved+".proof"] = f[event(audit.SessionStarted)+".proof"] },
		"no recording":       without(rec),
		"a changed recording": func(f map[string][]byte) {
			b := bytes.Clone(f[rec])
			b[len(b)/2] ^= 1
			f[rec] = b
		},
		"half a recording": func(f map[string][]byte) { f[rec] = f[rec][:len(f[rec])/2] },
		"a recording more": func(f map[string][]byte) { f["recordings/SOTHER.jitrec"] = f[rec] },
		"another site":     edit("manifest.json", `"site": "localhost"`, `"site": "evil.example"`),
		"a forged passkey": func(f map[string][]byte) { f["request.json"] = forgeEvidence(t, f["request.json"]) },
		"a file more":      func(f map[string][]byte) { f["letter.html"] = []byte("<h1>read this first</h1>") },
		"nothing but paper": func(f map[string][]byte) {
			maps.DeleteFunc(f, func(n string, _ []byte) bool { return strings.HasPrefix(n, "events/") })
		},
	} {
		changed := maps.Clone(files)
		change(changed)
		for _, again := range []bool{false, true} {
			if again {
				signAgain(t, changed, signer)
			}
			raw := rezip(t, changed)
			res, err := evidence.Verify(bytes.NewReader(raw), int64(len(raw)), vkey)
			if err == nil && res.OK() {
				t.Errorf("%s (signed anew: %v): the pack holds:\n%s", name, again, res)
			}
		}
	}
	// The summary is not evidence, so changing it is not found, which is said.
	changed := maps.Clone(files)
	changed["summary.html"] = []byte("<h1>all is well</h1>")
	raw := rezip(t, changed)
	if res, err := evidence.Verify(bytes.NewReader(raw), int64(len(raw)), vkey); err != nil || !res.OK() || !strings.Contains(res.String(), "nothing signs it") {
		t.Errorf("%v %v", res, err)
	}
}

// signAgain makes manifest and signature fit what is in the pack now.
func signAgain(t *testing.T, files map[string][]byte, signer *audit.Signer) {
	t.Helper()
	hash := func(b []byte) string {
		sum := sha256.Sum256(b)
		return hex.EncodeToString(sum[:])
	}
	var m evidence.Manifest
	check(t, json.Unmarshal(files["manifest.json"], &m))
	for name := range m.Documents {
		m.Documents[name] = hash(files[name])
	}
	m.Events = nil
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if n, ok := strings.CutSuffix(strings.TrimPrefix(name, "events/"), ".json"); ok && strings.HasPrefix(name, "events/") {
			seq, err := strconv.ParseInt(n, 10, 64)
			check(t, err)
			m.Events = append(m.Events, seq)
		}
	}
	var err error
	files["manifest.json"], err = json.Marshal(m)
	check(t, err)
	signed, err := signer.SignText("jit-gateway evidence pack\ngrant " + m.Grant + "\nmanifest sha256 " + hash(files["manifest.json"]) + "\n")
	check(t, err)
	files["manifest.note"] = []byte(signed)
}

func moveEnd(t *testing.T, raw []byte) []byte {
	var g map[string]any
	check(t, json.Unmarshal(raw, &g))
	end, err := time.Parse(time.RFC3339Nano, g["end"].(string))
	check(t, err)
	g["end"] = end.Add(-time.Minute).Format(time.RFC3339Nano)
	out, err := json.Marshal(g)
	check(t, err)
	return out
}

func forgeEvidence(t *testing.T, raw []byte) []byte {
	var r map[string]any
	check(t, json.Unmarshal(raw, &r))
	factor := r["votes"].([]any)[0].(map[string]any)["factor"].(map[string]any)
	factor["evidence"] = strings.Replace(factor["evidence"].(string), `"signature":"`, `"signature":"AA`, 1)
	out, err := json.Marshal(r)
	check(t, err)
	return out
}

func unzip(t *testing.T, raw []byte) map[string][]byte {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(raw), int64(len(raw)))
	check(t, err)
	out := map[string][]byte{}
	for _, f := range z.File {
		r, err := f.Open()
		check(t, err)
		out[f.Name], err = io.ReadAll(r)
		check(t, err)
		r.Close()
	}
	return out
}

func rezip(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
		check(t, err)
		_, err = w.Write(files[name])
		check(t, err)
	}
	check(t, z.Close())
	return b.Bytes()
}
