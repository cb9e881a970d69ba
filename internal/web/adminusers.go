package web

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"jit-gateway/approval/mfa"
	"jit-gateway/internal/admin"
	"jit-gateway/internal/display"
	"jit-gateway/internal/identity"
	"jit-gateway/internal/store"
)

// userRow is a user with what makes them able to do anything.
type userRow struct {
	identity.User
	OwnerName string
	Usable    bool
	Keys      int
	Factors   []string
}

const usersPage = 50

// users lists users by name, filtered by a part of the name, a group or a state.
func (s *Server) users(w http.ResponseWriter, r *http.Request, v *viewer) error {
	ctx, q := r.Context(), r.URL.Query()
	all, err := s.o.Users.Users(ctx)
	if err != nil {
		return err
	}
	shown := map[string]string{"q": strings.TrimSpace(q.Get("q")), "group": strings.TrimSpace(q.Get("group")), "state": q.Get("state")}
	now := s.o.Now()
	all = slices.DeleteFunc(all, func(u identity.User) bool {
		return !strings.Contains(u.Name, strings.ToLower(shown["q"])) || shown["group"] != "" && !u.In(shown["group"]) ||
			shown["state"] == "active" && !u.Usable(now) || shown["state"] == "disabled" && u.Usable(now)
	})
	d := map[string]any{"Q": shown, "Total": len(all)}
	from, _ := strconv.Atoi(q.Get("from"))
	from = min(max(from, 0), len(all))
	rest := all[from:]
	if len(rest) > usersPage {
		rest = rest[:usersPage]
		d["More"] = pageURL("/admin/users", shown, "from", strconv.Itoa(from+usersPage))
	}
	var rows []userRow
	for _, u := range rest {
		row, err := s.userRow(r, u)
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	d["Rows"] = rows
	s.render(w, r, v, http.StatusOK, "users", d)
	return nil
}

func (s *Server) userRow(r *http.Request, u identity.User) (userRow, error) {
	row := userRow{User: u, Usable: u.Usable(s.o.Now())}
	keys, err := s.o.Users.Keys(r.Context(), u.ID)
	if err != nil {
		return row, err
	}
	fs, err := s.o.MFA.Factors(r.Context(), u.ID)
	if err != nil {
		return row, err
	}
	row.Keys, row.Factors = len(keys), factorKinds(fs)
	return row, nil
}

// factorWords are kinds of factors, for people.
var factorWords = map[mfa.Kind]string{mfa.TOTP: "authenticator app", mfa.Passkey: "passkey"}

func factorKind(k mfa.Kind) string {
	if w, ok := factorWords[k]; ok {
		return w
	}
	return string(k)
}

// factorKinds leaves recovery codes out: they are no way of working.
func factorKinds(fs []mfa.Factor) (out []string) {
	for _, f := range fs {
		if f.Kind != mfa.Recovery {
			out = append(out, factorKind(f.Kind))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// factorRow is a factor as an administrator sees it.
type factorRow struct {
	mfa.Factor
	What string
}

// named finds the user of the path.
func (s *Server) named(r *http.Request) (identity.User, error) {
	u, err := s.o.Users.UserByName(r.Context(), r.PathValue("name"))
	if errors.Is(err, store.ErrNotFound) {
		return u, errNotFound
	}
	return u, err
}

// user shows one, and what may be changed.
func (s *Server) user(w http.ResponseWriter, r *http.Request, v *viewer) error {
	return s.showUser(w, r, v, http.StatusOK, map[string]any{})
}

func (s *Server) showUser(w http.ResponseWriter, r *http.Request, v *viewer, status int, d map[string]any) error {
	ctx := r.Context()
	u, err := s.named(r)
	if err != nil {
		return err
	}
	keys, err := s.o.Users.Keys(ctx, u.ID)
	if err != nil {
		return err
	}
	fs, err := s.o.MFA.Factors(ctx, u.ID)
	if err != nil {
		return err
	}
	row := userRow{User: u, Usable: u.Usable(s.o.Now())}
	if u.Owner != "" {
		row.OwnerName = u.Owner
		if o, err := s.o.Users.User(ctx, u.Owner); err == nil {
			row.OwnerName = o.Name
		}
	}
	var rows []factorRow
	for _, f := range fs {
		if f.Kind != mfa.Recovery {
			rows = append(rows, factorRow{f, factorKind(f.Kind)})
		}
	}
	d["U"], d["Keys"], d["Factors"], d["Me"] = row, keys, rows, u.Person() == v.Person()
	d["Recovery"], d["Able"] = len(fs)-len(rows), len(rows) > 0
	if s.o.Changes != nil {
		d["MayChange"] = true
		if d["Two"], err = s.o.Changes.SecondAdmin(ctx, v.User); err != nil {
			return err
		}
	}
	s.render(w, r, v, status, "user", d)
	return nil
}

// change takes a fresh factor and makes what build describes, or keeps it for
// a second administrator.
func (s *Server) change(w http.ResponseWriter, r *http.Request, v *viewer, build func(u identity.User) (admin.Change, string, error)) error {
	if s.o.Changes == nil {
		return errNotFound
	}
	u, err := s.named(r)
	if err != nil {
		return err
	}
	again := func(err error) error {
		return s.showUser(w, r, v, http.StatusForbidden, map[string]any{"Error": sentence(err), "Reason": r.PostFormValue("reason"), "Groups": r.PostFormValue("groups")})
	}
	ch, summary, err := build(u)
	if err != nil {
		return again(err)
	}
	if _, err := s.proofOfAct(r, v); err != nil {
		return again(err)
	}
	out, err := s.o.Changes.Do(r.Context(), v.by(), ch, summary)
	var refusal *admin.Refusal
	switch {
	case errors.As(err, &refusal):
		return again(refusal)
	case err != nil:
		return err
	case out.Code != "": // shown once, so it cannot be behind a redirect
		return s.showUser(w, r, v, http.StatusOK, map[string]any{"Code": out.Code, "Expires": out.Expires})
	case out.Act != nil:
		http.Redirect(w, r, "/admin/changes?asked="+out.Act.ID, http.StatusSeeOther)
	default:
		http.Redirect(w, r, "/admin/users/"+u.Name, http.StatusSeeOther)
	}
	return nil
}

func (s *Server) disableUser(w http.ResponseWriter, r *http.Request, v *viewer) error {
	return s.change(w, r, v, func(u identity.User) (admin.Change, string, error) {
		reason := strings.TrimSpace(r.PostFormValue("reason"))
		switch {
		case u.ID == v.ID:
			return admin.Change{}, "", errors.New("you cannot disable yourself; another administrator can")
		case u.State == identity.Disabled:
			return admin.Change{}, "", errors.New(u.Name + " is disabled already")
		case reason == "":
			return admin.Change{}, "", errors.New("say why, for the record")
		}
		return admin.Disable(u, reason), "", nil
	})
}

func (s *Server) enableUser(w http.ResponseWriter, r *http.Request, v *viewer) error {
	return s.change(w, r, v, func(u identity.User) (admin.Change, string, error) {
		if u.State == identity.Active {
			return admin.Change{}, "", errors.New(u.Name + " is enabled already")
		}
		ch, summary := admin.Enable(u, s.o.Now())
		return ch, summary, nil
	})
}

func (s *Server) regroupUser(w http.ResponseWriter, r *http.Request, v *viewer) error {
	return s.change(w, r, v, func(u identity.User) (admin.Change, string, error) {
		groups := admin.CleanGroups([]string{r.PostFormValue("groups")})
		switch {
		case slices.Equal(groups, u.Groups):
			return admin.Change{}, "", errors.New("these are the groups already")
		case len(groups) > 100 || slices.ContainsFunc(groups, func(g string) bool { return len(g) > 100 || display.Line(g, 100) != g }):
			return admin.Change{}, "", errors.New("a group's name is at most 100 plain letters, digits or signs, and nobody is in more than 100")
		}
		ch, summary := admin.Regroup(u, groups)
		return ch, summary, nil
	})
}

func (s *Server) inviteUser(w http.ResponseWriter, r *http.Request, v *viewer) error {
	return s.change(w, r, v, func(u identity.User) (admin.Change, string, error) {
		if u.State != identity.Active {
			return admin.Change{}, "", errors.New(u.Name + " is disabled; enable first")
		}
		return admin.Change{User: u.ID, Invite: -1}, "give " + u.Name + " a one-time code for a key and second factor", nil
	})
}
