package scim

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/store/sqlite"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

const token = "0123456789abcdef0123456789abcdef"

// world is a server over a real store, with one client.
type world struct {
	*testing.T
	db *sqlite.DB
	s  *Server
}

func newWorld(t *testing.T) *world {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "gateway.db"), sqlite.Options{Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	s, err := New(Options{Users: db, Groups: db, Tokens: []string{token}, URL: "https://gw.example:8443", Log: db, Now: func() time.Time { return noon },
		Manage: map[string]string{"Engineering": "engineers", "DBA": "dba"}, Reserved: func(n string) bool { return n == "boss" }})
	if err != nil {
		t.Fatal(err)
	}
	return &world{t, db, s}
}

// do sends a request as the client and wants the status; a wrong one stops the test.
func (w *world) do(want int, method, path, body string) map[string]any {
	w.Helper()
	return w.send(want, method, path, body, nil)
}

func (w *world) send(want int, method, path, body string, header map[string]string) map[string]any {
	w.Helper()
	r := httptest.NewRequest(method, Path+path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/scim+json; charset=utf-8")
	for k, v := range header {
		r.Header.Set(k, v)
	}
	rec := httptest.NewRecorder()
	w.s.ServeHTTP(rec, r)
	if rec.Code != want {
		w.Fatalf("%s %s: %d %s, want %d", method, path, rec.Code, rec.Body, want)
	}
	out := map[string]any{}
	if rec.Body.Len() > 0 {
		if err := json.Unmarshal(rec.Body.Bytes(), &out); err != nil {
			w.Fatalf("%s %s: %v", method, path, err)
		}
		if ct := rec.Header().Get("Content-Type"); !strings.HasPrefix(ct, "application/scim+json") {
			w.Errorf("%s %s answers %q", method, path, ct)
		}
	}
	if want >= 400 && want != 404 {
		if out["status"] != http.StatusText(0) && out["detail"] == "" {
			w.Errorf("an error without its detail: %v", out)
		}
	}
	return out
}

// user makes an account through the client.
func (w *world) user(name string) string {
	w.Helper()
	out := w.do(http.StatusCreated, "POST", "/Users", `{"schemas":["`+userSchema+`"],"userName":"`+name+`@Example.org","externalId":"x-`+name+`","active":true,"displayName":"`+name+` X"}`)
	return out["id"].(string)
}

func (w *world) group(name string, members ...string) string {
	w.Helper()
	list := make([]string, len(members))
	for i, m := range members {
		list[i] = `{"value":"` + m + `"}`
	}
	out := w.do(http.StatusCreated, "POST", "/Groups", `{"schemas":["`+groupSchema+`"],"displayName":"`+name+`","externalId":"g-`+name+`","members":[`+strings.Join(list, ",")+`]}`)
	return out["id"].(string)
}

func (w *world) stored(id string) identity.User {
	w.Helper()
	u, err := w.db.User(w.Context(), id)
	if err != nil {
		w.Fatal(err)
	}
	return u
}

func (w *world) last() audit.Event {
	w.Helper()
	evs, err := w.db.FindEvents(w.Context(), audit.Filter{Limit: 1})
	if err != nil || len(evs) != 1 {
		w.Fatal(evs, err)
	}
	return evs[0]
}

// members of a group as the client sees them.
func (w *world) members(group string) []string {
	w.Helper()
	var out []string
	for _, m := range w.do(200, "GET", "/Groups/"+group, "")["members"].([]any) {
		out = append(out, m.(map[string]any)["value"].(string))
	}
	return out
}

func unmarshal(raw string, v any) error { return json.Unmarshal([]byte(raw), v) }
