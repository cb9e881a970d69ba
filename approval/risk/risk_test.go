package risk

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// fake is a past that a test makes up.
type fake struct {
	sessions []PastSession
	requests []PastRequest
	votes    []PastVote
	grants   []PastGrant
	failures int
	err      error
}

func newer[T any](list []T, at func(T) time.Time, since time.Time) (out []T) {
	for _, x := range list {
		if !at(x).Before(since) {
			out = append(out, x)
		}
	}
	return out
}

func (f fake) PastSessions(_ context.Context, _ string, since time.Time, _ int) ([]PastSession, error) {
	return newer(f.sessions, func(s PastSession) time.Time { return s.StartedAt }, since), f.err
}
func (f fake) PastRequests(_ context.Context, _ string, since time.Time, _ int) ([]PastRequest, error) {
	return newer(f.requests, func(r PastRequest) time.Time { return r.FiledAt }, since), f.err
}
func (f fake) PastVotes(_ context.Context, _ string, since time.Time, _ int) ([]PastVote, error) {
	return newer(f.votes, func(v PastVote) time.Time { return v.At }, since), f.err
}
func (f fake) PastGrants(_ context.Context, _ string, since time.Time, _ int) ([]PastGrant, error) {
	return newer(f.grants, func(g PastGrant) time.Time { return g.Start }, since), f.err
}
func (f fake) FactorFailures(context.Context, string, time.Time) (int, error) {
	return f.failures, f.err
}

// sessions returns n of them, one a day at that hour, on web01 as deploy from 192.0.2.7.
func sessions(n, hour int, change ...func(*PastSession)) (out []PastSession) {
	for i := range n {
		at := time.Date(2026, 11, 21-i, hour, 0, 0, 0, time.UTC)
		s := PastSession{Target: "web01", Login: "deploy", Source: "192.0.2.7", StartedAt: at, EndedAt: at.Add(time.Hour), Bytes: 1 << 20}
		for _, f := range change {
			f(&s)
		}
		out = append(out, s)
	}
	return out
}

func denied(ago time.Duration, targets ...string) PastRequest {
	return PastRequest{ID: "R1", Targets: targets, State: "denied", FiledAt: noon.Add(-ago - time.Minute), DecidedAt: noon.Add(-ago)}
}

func TestFindings(t *testing.T) {
	used := sessions(20, 12)
	for _, c := range []struct {
		name string
		past fake
		sub  func(*Subject)
		want string // codes
		says string
	}{
		{"nothing unusual", fake{sessions: used}, nil, "", ""},
		{"first target of a newcomer", fake{}, nil, "first_target", "first time on web01"},
		{"first target", fake{sessions: used}, func(s *Subject) { s.Targets = []string{"web01", "vault"} }, "first_target", "first time on vault"},
		{"used more than a year ago", fake{sessions: sessions(1, 12, func(s *PastSession) { s.StartedAt = noon.Add(-366 * day) })}, nil, "first_target", ""},
		{"used a little less than a year ago", fake{sessions: sessions(1, 12, func(s *PastSession) { s.StartedAt = noon.Add(-364 * day) })}, nil, "", ""},
		{"first login", fake{sessions: used}, func(s *Subject) { s.Login = "admin" }, "first_login", "as admin on web01"},
		{"first network", fake{sessions: used}, func(s *Subject) { s.Source = "198.51.100.1" }, "first_network", "198.51.100.0/24"},
		{"same network", fake{sessions: used}, func(s *Subject) { s.Source = "192.0.2.254" }, "", ""},
		{"next network", fake{sessions: used}, func(s *Subject) { s.Source = "192.0.3.7" }, "first_network", ""},
		{"same network, mapped", fake{sessions: used}, func(s *Subject) { s.Source = "::ffff:192.0.2.9" }, "", ""},
		{"IPv6 by /64", fake{sessions: sessions(1, 12, func(s *PastSession) { s.Source = "2001:db8::1" })}, func(s *Subject) { s.Source = "2001:db8:0:0:ffff::1" }, "", ""},
		{"IPv6 next /64", fake{sessions: sessions(1, 12, func(s *PastSession) { s.Source = "2001:db8::1" })}, func(s *Subject) { s.Source = "2001:db8:0:1::1" }, "first_network", ""},
		{"no address", fake{sessions: used}, func(s *Subject) { s.Source = "" }, "", ""},
		{"unusual hour", fake{sessions: sessions(10, 9)}, nil, "unusual_hour", "none of 10 sessions"},
		{"too few to tell", fake{sessions: sessions(9, 9)}, nil, "", ""},
		{"an hour away is usual", fake{sessions: sessions(10, 11)}, nil, "", ""},
		{"an hour away, over midnight", fake{sessions: sessions(10, 23)}, func(s *Subject) { s.Now = noon.Add(12 * time.Hour) }, "", ""},
		{"in the user's zone", fake{sessions: sessions(10, 12)}, func(s *Subject) { s.Zone = time.FixedZone("there", 9*3600) }, "", ""},
		{"denied yesterday", fake{sessions: used, requests: []PastRequest{denied(23*time.Hour, "web01")}}, nil, "after_denial", "denied 23h0m0s ago"},
		{"denied before", fake{sessions: used, requests: []PastRequest{denied(25*time.Hour, "web01")}}, nil, "", ""},
		{"denied for another target", fake{sessions: used, requests: []PastRequest{denied(time.Hour, "db01")}}, nil, "", ""},
		{"approved yesterday", fake{sessions: used, requests: []PastRequest{{ID: "R1", Targets: []string{"web01"}, State: "approved", FiledAt: noon.Add(-time.Hour), DecidedAt: noon.Add(-time.Hour)}}}, nil, "", ""},
		{"burst of denials", fake{sessions: used, requests: []PastRequest{denied(time.Hour, "a"), denied(2*time.Hour, "b"), denied(3*time.Hour, "c")}}, nil, "denial_burst", "3 requests"},
		{"two denials", fake{sessions: used, requests: []PastRequest{denied(time.Hour, "a"), denied(2*time.Hour, "b")}}, nil, "", ""},
		{"wrong codes", fake{sessions: used, failures: 3}, nil, "failure_burst", "3 wrong codes"},
		{"two wrong codes", fake{sessions: used, failures: 2}, nil, "", ""},
		{"idle grant", fake{sessions: used, grants: []PastGrant{{ID: "G1", Start: noon.Add(-4 * time.Hour), End: noon.Add(time.Hour)}}}, nil, "idle_grant", "unused for 4h"},
		{"used grant", fake{sessions: used, grants: []PastGrant{{ID: "G1", Start: noon.Add(-8 * time.Hour), End: noon.Add(time.Hour), Sessions: 1, LastSession: noon.Add(-time.Hour)}}}, nil, "", ""},
		{"idle grant that is over", fake{sessions: used, grants: []PastGrant{{ID: "G1", Start: noon.Add(-8 * time.Hour), End: noon}}}, nil, "", ""},
		{"idle grant that was released", fake{sessions: used, grants: []PastGrant{{ID: "G1", Start: noon.Add(-8 * time.Hour), End: noon.Add(time.Hour), Ended: noon}}}, nil, "", ""},
		{"volume", fake{sessions: append(sessions(1, 12, func(s *PastSession) { s.StartedAt, s.Bytes = noon.Add(-time.Hour), 10<<20 }), sessions(8, 11)...)}, nil, "unusual_volume", "10 MB"},
		{"volume below the floor", fake{sessions: append(sessions(1, 12, func(s *PastSession) { s.StartedAt, s.Bytes = noon.Add(-time.Hour), 10<<20-1 }), sessions(8, 11)...)}, nil, "", ""},
		{"volume like always", fake{sessions: append(sessions(1, 12, func(s *PastSession) { s.StartedAt, s.Bytes = noon.Add(-time.Hour), 20<<20 }), sessions(8, 11, func(s *PastSession) { s.Bytes = 3 << 20 })...)}, nil, "", ""},
		{"volume without a past", fake{sessions: append(sessions(1, 12, func(s *PastSession) { s.StartedAt, s.Bytes = noon.Add(-time.Hour), 1<<30 }), sessions(4, 11)...)}, nil, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := Subject{UserID: "U1", Targets: []string{"web01"}, Login: "deploy", Source: "192.0.2.7", Now: noon}
			if c.sub != nil {
				c.sub(&s)
			}
			fs, _, err := Assess(t.Context(), c.past, s)
			if err != nil {
				t.Fatal(err)
			}
			var codes []string
			text := ""
			for _, f := range fs {
				codes, text = append(codes, string(f.Code)), text+f.Text
				if len(f.Evidence) == 0 {
					t.Errorf("%s has no evidence", f.Code)
				}
			}
			if got := strings.Join(codes, " "); got != c.want || !strings.Contains(text, c.says) {
				t.Errorf("found %q (%s), want %q (%s)", got, text, c.want, c.says)
			}
		})
	}
}

func TestFactsAndTrouble(t *testing.T) {
	past := fake{sessions: append(sessions(3, 12), sessions(2, 12, func(s *PastSession) { s.Target = "db" })...),
		requests: []PastRequest{denied(6*day, "x"), denied(8*day, "x"), {ID: "R2", State: "approved", FiledAt: noon}}, failures: 2}
	past.sessions = append(past.sessions, PastSession{Target: "web01", StartedAt: noon.Add(-31 * day)})
	_, facts, err := Assess(t.Context(), past, Subject{UserID: "U1", Targets: []string{"web01"}, Now: noon})
	if want := (Facts{Requests30d: 3, Denials7d: 1, Sessions30d: 5, OnTarget30d: 3, Failures1h: 2}); err != nil || facts != want {
		t.Errorf("facts %+v, want %+v; %v", facts, want, err)
	}
	past.err = errors.New("the store is gone")
	if _, _, err := Assess(t.Context(), past, Subject{Now: noon}); !errors.Is(err, past.err) {
		t.Errorf("trouble was swallowed: %v", err)
	}
	if _, err := Approver(t.Context(), past, "U1", noon); !errors.Is(err, past.err) {
		t.Errorf("trouble was swallowed: %v", err)
	}
}

func TestRubberStamp(t *testing.T) {
	votes := func(n int, after, ago time.Duration) (out []PastVote) {
		for i := range n {
			out = append(out, PastVote{RequestID: fmt.Sprint("R", i), FiledAt: noon.Add(-ago - after), At: noon.Add(-ago)})
		}
		return out
	}
	for name, c := range map[string]struct {
		votes []PastVote
		want  bool
	}{
		"five at once": {votes(5, 14*time.Second, time.Hour), true}, "four": {votes(4, time.Second, time.Hour), false},
		"slowly": {votes(9, 15*time.Second, time.Hour), false}, "two days ago": {votes(9, time.Second, 48*time.Hour), false},
	} {
		fs, err := Approver(t.Context(), fake{votes: c.votes}, "U1", noon)
		if err != nil || (len(fs) == 1) != c.want {
			t.Errorf("%s: %v, %v", name, fs, err)
		}
	}
}
