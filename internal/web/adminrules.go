package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"jit-gateway/approval/policy"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/inventory"
	"jit-gateway/internal/store"
)

// ruleView is a rule as people read it, and whole as it is loaded.
type ruleView struct {
	policy.Rule
	Who, What, Yes string
	JSON           string
}

// rules shows what is loaded. The file is changed on the gateway's machine,
// and loaded by a reload: nothing is changed here.
func (s *Server) rules(w http.ResponseWriter, r *http.Request, v *viewer) error {
	if s.o.Rules == nil {
		return errNotFound
	}
	set := s.o.Rules()
	var rows []ruleView
	for _, rule := range set.Rules() {
		text, err := json.MarshalIndent(rule, "", "  ")
		if err != nil {
			return err
		}
		rows = append(rows, ruleView{Rule: rule, Who: whoMay(rule), What: forWhat(rule), Yes: whoSaysYes(rule), JSON: string(text)})
	}
	s.render(w, r, v, http.StatusOK, "rules", map[string]any{"Rows": rows, "Hash": set.Hash()})
	return nil
}

func whoMay(r policy.Rule) string {
	who := append(prefixed("group ", r.Groups), r.Users...)
	if len(who) == 0 {
		return "nobody"
	}
	text := strings.Join(who, ", ")
	if r.Machines {
		text += " (machines only)"
	}
	return text
}

func forWhat(r policy.Rule) string {
	var parts []string
	if len(r.Logins) > 0 {
		parts = append(parts, strings.Join(r.Logins, ", ")+" on")
	}
	switch {
	case len(r.Targets) > 0:
		parts = append(parts, strings.Join(r.Targets, ", "))
	case len(r.Kinds) > 0:
		parts = append(parts, "every "+strings.Join(r.Kinds, " or ")+" target")
	default:
		parts = append(parts, "every target")
	}
	for k, val := range r.Labels {
		parts = append(parts, fmt.Sprintf("with %s=%s", k, val))
	}
	return strings.Join(parts, " ")
}

func whoSaysYes(r policy.Rule) string {
	switch {
	case r.Effect == policy.Deny:
		return "nobody: it denies"
	case r.Auto:
		return "the rule itself"
	case r.BreakGlass != nil && len(r.Approve) == 0:
		return "nobody beforehand; reviewed by " + strings.Join(r.BreakGlass.Reviews, ", ")
	}
	var parts []string
	for _, q := range r.Approve {
		who := append(prefixed("", q.Groups), q.Users...)
		if q.Owners {
			who = append(who, "owners of the target")
		}
		parts = append(parts, fmt.Sprintf("%d of %s", max(q.Count, 1), strings.Join(who, ", ")))
	}
	return strings.Join(parts, ", and ")
}

func prefixed(prefix string, list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = prefix + s
	}
	return out
}

// explain answers what the rules would say of a request, step by step, without
// filing it. The question is in the address, so that it can be sent to
// somebody who asks why.
func (s *Server) explain(w http.ResponseWriter, r *http.Request, v *viewer) error {
	if s.o.Rules == nil {
		return errNotFound
	}
	q := r.URL.Query()
	shown := map[string]string{}
	for _, k := range []string{"user", "target", "login", "ticket", "source", "minutes", "at"} {
		shown[k] = strings.TrimSpace(q.Get(k))
	}
	d := map[string]any{"Q": shown, "Asked": shown["user"] != "" && shown["target"] != "", "Break": q.Has("emergency")}
	if d["Asked"] == true {
		if err := s.explained(r, shown, q.Has("emergency"), d); err != nil {
			d["Error"], d["Asked"] = sentence(err), false
		}
	}
	s.render(w, r, v, http.StatusOK, "explain", d)
	return nil
}

// ruleSteps are the steps of one rule.
type ruleSteps struct {
	Rule    string
	Effect  policy.Effect
	OK      bool
	Decides bool
	Steps   []policy.Step
}

func (s *Server) explained(r *http.Request, shown map[string]string, emergency bool, d map[string]any) error {
	u, err := s.o.Users.UserByName(r.Context(), shown["user"])
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("there is no user %q", shown["user"])
	} else if err != nil {
		return err
	}
	t, ok := s.o.Inventory.Target(inventory.Normalize(shown["target"]))
	if !ok {
		return fmt.Errorf("there is no target %q", shown["target"])
	}
	in := policy.Input{User: u, Target: t, Login: shown["login"], Ticket: shown["ticket"], Reason: "explained", Now: s.o.Now(), BreakGlass: emergency}
	if in.Login == "" && len(t.Logins()) > 0 {
		in.Login = t.Logins()[0]
		shown["login"] = in.Login
	}
	if shown["source"] != "" {
		if in.Source, err = netip.ParseAddr(shown["source"]); err != nil {
			return fmt.Errorf("%q is not an address", shown["source"])
		}
	}
	if shown["minutes"] != "" {
		if in.Duration, err = time.ParseDuration(shown["minutes"] + "m"); err != nil {
			return fmt.Errorf("%q is not a number of minutes", shown["minutes"])
		}
	}
	set := s.o.Rules()
	verdict := set.Decide(in)
	var list []ruleSteps
	for _, st := range set.Explain(in) {
		if n := len(list); n == 0 || list[n-1].Rule != st.Rule {
			list = append(list, ruleSteps{Rule: st.Rule, Effect: st.Effect, OK: true, Decides: verdict.Rule.Name == st.Rule})
		}
		last := &list[len(list)-1]
		last.Steps = append(last.Steps, st)
		last.OK = last.OK && st.OK
	}
	d["Verdict"], d["Rules"], d["Usable"] = verdict, list, u.Usable(s.o.Now())
	if verdict.Allowed && !verdict.Rule.Auto {
		d["Quorums"], err = s.couldApprove(r, u, t, verdict.Rule)
	}
	return err
}

// couldApprove names, for each quorum, who could say yes to that user.
func (s *Server) couldApprove(r *http.Request, asker identity.User, t inventory.Target, rule policy.Rule) ([]map[string]any, error) {
	users, err := s.o.Users.Users(r.Context())
	if err != nil {
		return nil, err
	}
	var out []map[string]any
	for _, e := range rule.Electorates([]inventory.Target{t}, false) {
		var names []string
		for _, u := range users {
			if u.Usable(s.o.Now()) && u.Person() != asker.Person() && e.Fits(u) {
				names = append(names, u.Name)
			}
		}
		out = append(out, map[string]any{"Label": e.Label, "Need": e.Need, "Names": names[:min(len(names), 20)], "More": max(len(names)-20, 0), "Short": len(names) < e.Need})
	}
	return out, nil
}
