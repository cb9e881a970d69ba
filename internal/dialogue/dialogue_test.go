package dialogue_test

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"jit-gateway/approval"
	"jit-gateway/approval/policy"
	"jit-gateway/internal/dialogue"
)

const forHow = "For how long [30m, at most 1h]: "

var requestID = regexp.MustCompile(`R[0-9A-Z]{4,}`)

// story runs f in a bubble with a world.
func story(t *testing.T, f func(w *world), rules ...policy.Rule) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, rules...)
		defer w.stop()
		f(w)
	})
}

func refusal(t *testing.T, err error) string {
	t.Helper()
	var r *dialogue.Refusal
	if !errors.As(err, &r) {
		t.Fatalf("not a refusal: %v", err)
	}
	return r.Text
}

// The transcript of the design, word for word.
func TestTheTranscript(t *testing.T) {
	story(t, func(w *world) {
		p := w.alice(map[string][]any{"Reason: ": {"nginx 502s, INC-4211"}, forHow: {""}})
		go w.approve(12*time.Second, 0)
		adm, err := w.d.Admit(w.Context(), p, ask("web01", "deploy"))
		if err != nil {
			w.Fatalf("%v\n%s", err, p.transcript())
		}
		want := `web01: you have no access yet. Ask for deploy on web01.
Reason: nginx 502s, INC-4211
For how long [30m, at most 1h]: 
Request RXXXX sent to sre-leads. Waiting; Ctrl-C stops waiting, the request stays open.
Approved by bob for 30 min, starting with your code.
Code: ******`
		if got := requestID.ReplaceAllString(p.transcript(), "RXXXX"); got != want {
			w.Errorf("got\n%s\nwant\n%s", got, want)
		}
		if p.alive < 2 {
			w.Errorf("%d signs of life in 12 s", p.alive)
		}
		if err := adm.Check(time.Now()); err != nil {
			w.Error(err)
		}
		// With a live grant the same command goes straight through.
		silent := w.alice(map[string][]any{})
		if _, err := w.d.Admit(w.Context(), silent, ask("web01", "deploy")); err != nil || silent.transcript() != "" {
			w.Errorf("%v, and it said %q", err, silent.transcript())
		}
		if _, err := w.d.Admit(w.Context(), nil, ask("web01", "deploy")); err != nil {
			w.Errorf("with nobody to ask: %v", err)
		}
	})
}

// G1: no conversation ends in an admission without approval and a right code.
func TestG1DialogueWithoutCodeAdmitsNobody(t *testing.T) {
	story(t, func(w *world) {
		p := w.alice(map[string][]any{"Reason: ": {"x"}, forHow: {"20m"}, "Code: ": {"000000", "000000", ""}})
		go w.approve(time.Second, 0)
		adm, err := w.d.Admit(w.Context(), p, ask("web01", "deploy"))
		if text := refusal(w.T, err); !strings.Contains(text, "last of 3 tries") {
			w.Error(text)
		}
		if adm.Check(time.Now()) == nil {
			w.Error("three wrong codes, and admitted")
		}
		// The grant waits: the same command asks for the code alone.
		time.Sleep(10 * time.Minute)
		p = w.alice(map[string][]any{})
		if _, err := w.d.Admit(w.Context(), p, ask("web01", "deploy")); err != nil {
			w.Fatalf("%v\n%s", err, p.transcript())
		}
		if want := "Approved by bob for 20 min, starting with your code.\nCode: ******"; p.transcript() != want {
			w.Errorf("got %q", p.transcript())
		}
	})
}

func TestApproverShortens(t *testing.T) {
	story(t, func(w *world) {
		p := w.alice(map[string][]any{"Reason: ": {"x"}, forHow: {"1h"}})
		go w.approve(time.Second, 10*time.Minute)
		adm, err := w.d.Admit(w.Context(), p, ask("web01", "deploy"))
		if err != nil {
			w.Fatal(err)
		}
		if !strings.Contains(p.transcript(), "Approved by bob for 10 min (you asked for 1 h), starting with your code.") {
			w.Error(p.transcript())
		}
		if left := time.Until(adm.End()); left > 10*time.Minute || left < 9*time.Minute {
			w.Errorf("open for %s", left)
		}
	})
}

func TestDeniedWithReason(t *testing.T) {
	story(t, func(w *world) {
		p := w.alice(map[string][]any{"Reason: ": {"x"}, forHow: {""}})
		go func() {
			r := w.pending()
			if _, err := w.svc.Deny(w.Context(), caller("bob"), r.ID, "not during\x1b[2J the freeze", w.proof("bob")); err != nil {
				w.Error(err)
			}
		}()
		_, err := w.d.Admit(w.Context(), p, ask("web01", "deploy"))
		if text := refusal(w.T, err); !strings.Contains(text, `was denied by bob: not during\x1b[2J the freeze`) {
			w.Error(text)
		}
	})
}

func TestWaitEndsPolitelyAndTheSameCommandResumes(t *testing.T) {
	story(t, func(w *world) {
		p := w.alice(map[string][]any{"Reason: ": {"disk full"}, forHow: {""}})
		began := time.Now()
		_, err := w.d.Admit(w.Context(), p, ask("web01", "deploy"))
		text := refusal(w.T, err)
		if !strings.HasPrefix(text, "Nobody has answered for 15 min. Request R") || !strings.Contains(text, "the same command resumes it") {
			w.Error(text)
		}
		if took := time.Since(began); took < 15*time.Minute || took > 16*time.Minute {
			w.Errorf("it waited %s", took)
		}
		first := w.pending()

		// Another login is another wish.
		p = w.alice(map[string][]any{"Reason: ": {errors.New("stop")}})
		if _, err := w.d.Admit(w.Context(), p, ask("web01", "admin")); err == nil || !strings.Contains(p.transcript(), "Ask for admin on web01") {
			w.Errorf("%v: %s", err, p.transcript())
		}

		p = w.alice(map[string][]any{})
		go w.approve(time.Minute, 0)
		adm, err := w.d.Admit(w.Context(), p, ask("web01", "deploy"))
		if err != nil {
			w.Fatalf("%v\n%s", err, p.transcript())
		}
		if adm.Grant().RequestID != first.ID || !strings.Contains(p.transcript(), first.ID+" (disk full) is open since") {
			w.Errorf("request %s, first %s\n%s", adm.Grant().RequestID, first.ID, p.transcript())
		}
	})
}

func TestCtrlCWhileWaiting(t *testing.T) {
	story(t, func(w *world) {
		p := w.alice(map[string][]any{"Reason: ": {"x"}, forHow: {""}})
		ctx, stop := context.WithCancelCause(w.Context())
		go func() {
			w.pending()
			time.Sleep(time.Minute)
			stop(dialogue.ErrInterrupted)
		}()
		_, err := w.d.Admit(ctx, p, ask("web01", "deploy"))
		if text := refusal(w.T, err); !strings.HasPrefix(text, "Stopped. Request R") {
			w.Error(text)
		}
		if r := w.pending(); r.State != approval.Pending {
			w.Errorf("the request is %s", r.State)
		}
	})
}

func TestClientGone(t *testing.T) {
	story(t, func(w *world) {
		p := w.alice(map[string][]any{"Reason: ": {"x"}, forHow: {""}})
		at := time.Now().Add(time.Minute)
		p.gone = func() bool { return time.Now().After(at) }
		_, err := w.d.Admit(w.Context(), p, ask("web01", "deploy"))
		if err == nil || !strings.Contains(err.Error(), "reset by peer") {
			w.Errorf("%v", err)
		}
		w.pending() // still open
	})
}

func TestRequestExpires(t *testing.T) {
	story(t, func(w *world) {
		p := w.alice(map[string][]any{"Reason: ": {"x"}, forHow: {""}})
		_, err := w.d.Admit(w.Context(), p, ask("web01", "deploy"))
		if text := refusal(w.T, err); !strings.Contains(text, "expired: nobody answered within 5 min") {
			w.Error(text)
		}
	}, policy.Rule{Name: "web", Groups: []string{"sre"}, Targets: []string{"*"}, MaxDuration: policy.Duration(time.Hour),
		RequestLifetime: policy.Duration(5 * time.Minute), Approve: []policy.Quorum{{Groups: []string{"sre-leads"}}}})
}

// A client without a terminal answers empty: that must end, and ask nobody.
func TestEmptyReasonIsRefused(t *testing.T) {
	story(t, func(w *world) {
		p := w.alice(map[string][]any{"Reason: ": {"", "  ", "", "never reached"}})
		_, err := w.d.Admit(w.Context(), p, ask("web01", "deploy"))
		if text := refusal(w.T, err); !strings.Contains(text, "A reason is needed") {
			w.Error(text)
		}
		list, err := w.svc.Requests(w.Context(), caller("alice"), approval.RequestFilter{})
		if err != nil || len(list) != 0 {
			w.Errorf("%d requests, %v", len(list), err)
		}
	})
}

func TestDurationsThatCannotBe(t *testing.T) {
	story(t, func(w *world) {
		p := w.alice(map[string][]any{"Reason: ": {"x"}, forHow: {"2h", "soon", "15"}})
		go w.approve(time.Second, 0)
		adm, err := w.d.Admit(w.Context(), p, ask("web01", "deploy"))
		if err != nil {
			w.Fatal(err)
		}
		if adm.Grant().Duration != 15*time.Minute {
			w.Errorf("%s", adm.Grant().Duration)
		}
		if s := p.transcript(); !strings.Contains(s, "At most 1h.") || !strings.Contains(s, "Write it like 30m") {
			w.Error(s)
		}
	})
}

func TestNobodyToAskNamesTheCommand(t *testing.T) {
	story(t, func(w *world) {
		hint := func(target, want string) {
			w.Helper()
			in := ask(target, "deploy")
			_, err := w.svc.Admit(w.Context(), in)
			if got := w.d.Hint(w.Context(), in, err); got != want {
				w.Errorf("the hint is %q, want %q", got, want)
			}
		}
		hint("web01", "Without a terminal, run: ssh jit-gateway request web01 --login deploy")
		hint("nowhere", "")
		_, err := w.d.Admit(w.Context(), nil, ask("web01", "deploy"))
		if text := refusal(w.T, err); text != "web01: you have no access yet. Run: ssh jit-gateway request web01 --login deploy" {
			w.Error(text)
		}
		r, err := w.d.File(w.Context(), nil, caller("alice"), approval.Ask{Targets: []string{"web01"}, Login: "deploy", Reason: "x"}, false)
		if err != nil {
			w.Fatal(err)
		}
		_, err = w.d.Admit(w.Context(), nil, ask("web01", "deploy"))
		if text := refusal(w.T, err); text != "web01: request "+r.ID+" is waiting for sre-leads. Once approved, run: ssh jit-gateway activate "+r.ID {
			w.Error(text)
		}
		hint("web01", "Without a terminal, run once it is approved: ssh jit-gateway activate "+r.ID)
		w.approve(0, 0)
		_, err = w.d.Admit(w.Context(), nil, ask("web01", "deploy"))
		text := refusal(w.T, err)
		_, command, _ := strings.Cut(text, "Run: ")
		if !strings.Contains(text, "not activated yet. Run: ssh jit-gateway activate G") {
			w.Error(text)
		}
		hint("web01", "Without a terminal, run: "+command)
	})
}

func TestUnknownAndForbiddenGetOneAnswer(t *testing.T) {
	story(t, func(w *world) {
		texts := map[string]bool{}
		for _, target := range []string{"db99", "nosuch"} {
			p := w.alice(map[string][]any{})
			_, err := w.d.Admit(w.Context(), p, ask(target, "deploy"))
			texts[strings.ReplaceAll(refusal(w.T, err), target, "X")] = true
		}
		if len(texts) != 1 {
			w.Errorf("%v", texts)
		}
	})
}

func TestScheduledStartIsToldWhen(t *testing.T) {
	story(t, func(w *world) {
		start := time.Now().Add(2 * time.Hour).Truncate(time.Minute)
		p := w.alice(map[string][]any{})
		r, err := w.d.File(w.Context(), p, caller("alice"), approval.Ask{Targets: []string{"web01"}, Login: "deploy", Reason: "x", StartAt: start}, false)
		if err != nil {
			w.Fatal(err)
		}
		go w.approve(time.Second, 0)
		if _, err = w.d.Wait(w.Context(), p, caller("alice"), r); err != nil {
			w.Fatal(err)
		}
		if want := "from " + start.UTC().Format("15:04 UTC"); !strings.Contains(p.transcript(), want) {
			w.Errorf("no %q in %s", want, p.transcript())
		}
		_, err = w.d.Admit(w.Context(), p, ask("web01", "deploy"))
		if text := refusal(w.T, err); !strings.Contains(text, "Your window on web01 opens at "+start.UTC().Format("15:04 UTC")+" (in ") {
			w.Error(text)
		}
		time.Sleep(time.Until(start) + time.Second)
		quiet := w.alice(map[string][]any{})
		if _, err = w.d.Admit(w.Context(), quiet, ask("web01", "deploy")); err != nil {
			w.Errorf("at its start: %v\n%s", err, quiet.transcript())
		}
	})
}

func TestAnotherAddressCostsACode(t *testing.T) {
	story(t, func(w *world) {
		p := w.alice(map[string][]any{"Reason: ": {"x"}, forHow: {""}})
		go w.approve(time.Second, 0)
		if _, err := w.d.Admit(w.Context(), p, ask("web01", "deploy")); err != nil {
			w.Fatal(err)
		}
		in := ask("web01", "deploy")
		in.Source = "198.51.100.7"
		if _, err := w.d.Admit(w.Context(), nil, in); err == nil || !strings.Contains(err.Error(), "ssh jit-gateway activate G") {
			w.Errorf("nobody to ask: %v", err)
		}
		time.Sleep(time.Minute)
		p = w.alice(map[string][]any{})
		if _, err := w.d.Admit(w.Context(), p, in); err != nil || !strings.HasSuffix(p.transcript(), "Code: ******") {
			w.Errorf("%v\n%s", err, p.transcript())
		}
	})
}

// A client that opens several connections at once asks once.
func TestConnectionsTakeTurns(t *testing.T) {
	story(t, func(w *world) {
		const n = 5
		p := w.alice(map[string][]any{"Reason: ": {"gui"}, forHow: {""}})
		errs := make(chan error, n)
		for range n {
			go func() {
				_, err := w.d.Admit(w.Context(), p, ask("web01", "deploy"))
				errs <- err
			}()
		}
		w.approve(30*time.Second, 0)
		for range n {
			if err := <-errs; err != nil {
				w.Error(err)
			}
		}
		if c := strings.Count(p.transcript(), "Reason: "); c != 1 {
			w.Errorf("asked %d times:\n%s", c, p.transcript())
		}
	})
}

func TestAutoApproval(t *testing.T) {
	story(t, func(w *world) {
		p := w.alice(map[string][]any{"Reason: ": {"x"}, forHow: {""}})
		if _, err := w.d.Admit(w.Context(), p, ask("web01", "deploy")); err != nil {
			w.Fatalf("%v\n%s", err, p.transcript())
		}
		if !strings.Contains(p.transcript(), "Approved by the rule self for 30 min, starting with your code.\nCode: ") {
			w.Error(p.transcript())
		}
	}, policy.Rule{Name: "self", Groups: []string{"sre"}, Targets: []string{"*"}, MaxDuration: policy.Duration(time.Hour), Auto: true})
}

func TestLoginIsAskedFor(t *testing.T) {
	story(t, func(w *world) {
		p := w.alice(map[string][]any{"web01: as whom (deploy, admin): ": {"root", "admin"}, "Reason: ": {"x"}, forHow: {""}})
		adm, err := w.d.Admit(w.Context(), p, ask("web01", ""))
		if err != nil {
			w.Fatalf("%v\n%s", err, p.transcript())
		}
		if adm.Login() != "admin" {
			w.Error(adm.Login())
		}
	}, policy.Rule{Name: "self", Groups: []string{"sre"}, Targets: []string{"*"}, MaxDuration: policy.Duration(time.Hour), Auto: true})
}
