package command

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"jit-gateway/approval"
	"jit-gateway/internal/dialogue"
	"jit-gateway/internal/display"
)

type requestsCmd struct {
	IDs   []string `arg:"" optional:"" name:"request" help:"Show these in full."`
	All   bool     `help:"Also those that are closed." short:"a"`
	State string   `help:"Only those in this state: pending, approved, denied, withdrawn, expired." enum:",pending,approved,denied,withdrawn,expired" default:"" placeholder:"STATE"`
}

// requestJSON adds to a request what its approver must name.
type requestJSON struct {
	approval.Request
	Digest string `json:"digest"`
}

// MarshalJSON implements json.Marshaler: the embedded one would leave the
// digest out.
func (r requestJSON) MarshalJSON() ([]byte, error) {
	b, err := json.Marshal(r.Request)
	if err != nil {
		return nil, err
	}
	d, err := json.Marshal(r.Digest)
	if err != nil {
		return nil, err
	}
	return slices.Concat(b[:len(b)-1], []byte(`,"digest":`), d, []byte("}")), nil
}

// UnmarshalJSON implements json.Unmarshaler, for the same reason.
func (r *requestJSON) UnmarshalJSON(b []byte) error {
	var d struct {
		Digest string `json:"digest"`
	}
	if err := json.Unmarshal(b, &d); err != nil {
		return err
	}
	r.Digest = d.Digest
	return json.Unmarshal(b, &r.Request)
}

func requestView(r approval.Request) requestJSON { return requestJSON{r, r.Digest()} }

func (r *requestsCmd) Run(c *call) error {
	if len(r.IDs) > 0 {
		return c.showRequests(r.IDs)
	}
	list, err := c.openRequests(r.All || r.State != "", approval.RequestState(r.State))
	if err != nil {
		return err
	}
	if c.root.JSON {
		out := make([]requestJSON, len(list))
		for i, q := range list {
			out[i] = requestView(q)
		}
		return c.json(out)
	}
	if len(list) == 0 {
		c.say("No requests%s.", map[bool]string{false: " are open; --all lists closed ones too", true: ""}[r.All])
		return nil
	}
	t := newTable("REQUEST", "STATE", "USER", "LOGIN", "TARGETS", "FOR", "FILED", "REASON")
	for _, q := range list {
		t.row(q.ID, stateCell(q.State), q.User, q.Login, names(q.Targets), dialogue.ShortDuration(q.Duration), c.ago(q.FiledAt), q.Reason)
	}
	return c.table(t)
}

// openRequests lists what the caller waits for and what waits for them,
// newest first.
func (c *call) openRequests(all bool, state approval.RequestState) ([]approval.Request, error) {
	f := approval.RequestFilter{State: state}
	if !all {
		f.State = approval.Pending
	}
	list, err := c.r.o.Approvals.Requests(c.ctx, c.inv.Caller, f)
	if err != nil || all || c.inv.LocalAdmin {
		return list, err
	}
	// What the caller may approve is also what they see; the rest of the open
	// ones are theirs.
	mine, err := c.r.o.Approvals.Pending(c.ctx, c.inv.Caller)
	if err != nil {
		return nil, err
	}
	for _, q := range mine {
		if !slices.ContainsFunc(list, func(o approval.Request) bool { return o.ID == q.ID }) {
			list = append(list, q)
		}
	}
	slices.SortStableFunc(list, func(a, b approval.Request) int { return b.FiledAt.Compare(a.FiledAt) })
	return list, nil
}

func (c *call) showRequests(ids []string) error {
	var views []requestJSON
	for i, id := range ids {
		q, err := c.findRequest(id)
		if err != nil {
			return err
		}
		if c.root.JSON {
			views = append(views, requestView(q))
			continue
		}
		if i > 0 {
			c.print("")
		}
		c.showRequest(q)
	}
	if c.root.JSON {
		return c.json(views)
	}
	return nil
}

// showRequest prints all that an approver should know.
func (c *call) showRequest(q approval.Request) {
	start := "with the requester's code"
	if !q.StartAt.IsZero() {
		start = c.stamp(q.StartAt)
	}
	approved := ""
	for _, v := range q.Votes {
		approved += fmt.Sprintf("%s at %s  ", v.User, c.stamp(v.At))
	}
	decision := ""
	if q.Decision != nil && q.State != approval.Approved {
		decision = strings.TrimSpace(q.Decision.User + ": " + q.Decision.Reason)
	}
	waits := ""
	if q.State == approval.Pending {
		waits = c.waitsFor(q)
	}
	emergency := ""
	if q.BreakGlass {
		emergency = "yes: break-glass"
	}
	c.fields(
		"request", fmt.Sprintf("%s (%s)", q.ID, q.State),
		"user", q.User,
		"wants", fmt.Sprintf("%s on %s", q.Login, strings.Join(q.Targets, ", ")),
		"selector", q.Selector,
		"reason", q.Reason,
		"ticket", q.Ticket,
		"for", dialogue.LongDuration(q.Duration),
		"starts", start,
		"extends", q.Extends,
		"emergency", emergency,
		"rule", q.Rule,
		"from", strings.TrimSpace(q.Source+" "+q.Via),
		"filed", c.stamp(q.FiledAt)+" ("+c.ago(q.FiledAt)+")",
		"expires", map[bool]string{true: c.stamp(q.ExpiresAt)}[q.State == approval.Pending],
		"waits for", waits,
		"approved by", strings.TrimSpace(approved),
		"decision", decision,
		"grant", q.GrantID,
		"digest", q.Digest(),
	)
	for _, f := range q.Risk {
		c.print("%s %s", paint("unusual:", yellow, c.color()), display.Line(f.Text, 0))
	}
}

// waitsFor says whose vote is missing.
func (c *call) waitsFor(q approval.Request) string {
	views, err := c.r.o.Approvals.Approvers(c.ctx, q)
	if err != nil {
		return ""
	}
	var parts []string
	for _, v := range views {
		if v.Have >= v.Need {
			continue
		}
		var who []string
		for _, u := range v.Who {
			who = append(who, u.Name)
		}
		parts = append(parts, fmt.Sprintf("%d of %s (%s)", v.Need-v.Have, v.Label, strings.Join(who, ", ")))
	}
	return strings.Join(parts, " and ")
}

func stateCell(s approval.RequestState) cell {
	st := plain
	switch s {
	case approval.Pending:
		st = yellow
	case approval.Approved:
		st = green
	case approval.Denied:
		st = red
	case approval.Expired, approval.Withdrawn:
		st = dim
	}
	return cell{string(s), st}
}

// findRequest returns a request that the caller may see.
func (c *call) findRequest(id string) (approval.Request, error) {
	q, err := c.r.o.Approvals.Request(c.ctx, c.inv.Caller, cleanID(id))
	if err != nil {
		return q, c.noSuch(err, "request", id, "requests")
	}
	return q, nil
}

// noSuch words a look-up that failed: what is not there, and where to look.
func (c *call) noSuch(err error, what, id, list string) error {
	if isNotFound(err) {
		return failf("There is no %s %s that you may see. See: %s%s", what, display.Line(id, 40), c.prefix(), list)
	}
	return err
}

// cleanID reads an identifier as people type and dictate it: any case, and
// the letters that identifiers do not have as the digits they look like.
func cleanID(s string) string {
	s = strings.ToUpper(strings.TrimSpace(s))
	if len(s) < 2 {
		return s
	}
	return s[:1] + strings.NewReplacer("O", "0", "I", "1", "L", "1", "-", "").Replace(s[1:])
}
