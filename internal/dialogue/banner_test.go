package dialogue_test

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"jit-gateway/approval/policy"
	"jit-gateway/internal/audit"
	"jit-gateway/internal/dialogue"
)

// A rule's consent text comes before the code that agrees to it, and the log
// says which text that was.
func TestConsentBeforeTheCode(t *testing.T) {
	rule := policy.Rule{Name: "quick", Users: []string{"alice"}, Auto: true, Banner: "Sessions here are recorded.\nBy \x1b[2Jentering you agree.\n"}
	story(t, func(w *world) {
		p := w.alice(map[string][]any{"Reason: ": {"x"}, forHow: {""}})
		if _, err := w.d.Admit(w.Context(), p, ask("web01", "deploy")); err != nil {
			w.Fatalf("%v\n%s", err, p.transcript())
		}
		text := p.transcript()
		banner, code := strings.Index(text, "Sessions here are recorded.\nBy \\x1b[2Jentering you agree.\nWith your code you agree to that."), strings.Index(text, "Code: ")
		if banner < 0 || code < banner {
			w.Errorf("got\n%s", text)
		}
		evs, err := w.db.FindEvents(w.Context(), audit.Filter{Types: []audit.Type{audit.GrantActivated}})
		sum := sha256.Sum256([]byte(rule.Banner))
		if err != nil || len(evs) != 1 || evs[0].Detail["banner"] != hex.EncodeToString(sum[:]) {
			w.Errorf("%v, %+v", err, evs)
		}
	}, rule)
	if dialogue.Banner(" \n") != "" {
		t.Error("an empty text is none")
	}
}
