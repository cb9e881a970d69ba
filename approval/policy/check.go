package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	"filippo.io/age/agessh"
)

const maxList = 1000 // entries of any list in a rule

var (
	ruleName  = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9 ._-]{0,63}$`)
	parameter = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_.]{0,62}$`)
)

// checker collects the mistakes of one rule.
type checker struct {
	rule  Rule
	index int
	errs  []error
}

func (c *checker) bad(field, format string, args ...any) {
	c.errs = append(c.errs, &FieldError{Rule: c.rule.Name, Index: c.index, Field: field, Msg: fmt.Sprintf(format, args...)})
}

func (c *checker) oneOf(field, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		c.bad(field, "%q is not one of %s", value, strings.TrimPrefix(strings.Join(allowed, ", "), ", "))
	}
}

func (c *checker) list(field string, values []string) {
	if len(values) > maxList {
		c.bad(field, "has %d entries; at most %d", len(values), maxList)
		return
	}
	for i, v := range values {
		if v == "" {
			c.bad(fmt.Sprintf("%s[%d]", field, i), "is empty; for everything write *")
		}
	}
}

func (c *checker) duration(field string, d Duration) {
	switch {
	case d < 0:
		c.bad(field, "is negative")
	case d.Std() > longest:
		c.bad(field, "%s is longer than %s", d, Duration(longest))
	}
}

func (c *checker) pattern(field, text string) *regexp.Regexp {
	re, err := regexp.Compile(`\A(?:` + text + `)\z`)
	if err != nil {
		c.bad(field, "is not a regular expression: %v", err)
		return nil
	}
	return re
}

// compile checks the rule and parses what has to be parsed.
func (c *checker) compile() *compiled {
	r := c.rule
	out := &compiled{Rule: r}
	if !ruleName.MatchString(r.Name) {
		c.bad("name", "%q is not a name; write 1 to 64 letters, digits, blanks, dots, dashes or underscores", r.Name)
	}
	c.oneOf("effect", string(r.Effect), "", string(Allow), string(Deny))
	if len(r.Users)+len(r.Groups) == 0 {
		c.bad("users", "the rule is for nobody: name users or groups; for everybody write users: [\"*\"]")
	}
	c.list("users", r.Users)
	c.list("groups", r.Groups)
	c.list("targets", r.Targets)
	c.list("logins", r.Logins)
	for i, k := range r.Kinds {
		c.oneOf(fmt.Sprintf("kinds[%d]", i), k, "ssh", "postgres")
	}
	for k, v := range r.Labels {
		if k == "" || v == "" {
			c.bad("labels", "%q: %q lacks a key or a value; for any value write *", k, v)
		}
	}
	if r.Hours != nil {
		h, field, err := compileHours(r.Hours)
		if err != nil {
			c.bad(field, "%v", err)
		}
		out.hours = h
	}
	if r.When != "" {
		w, err := compileWhen(r.When)
		if err != nil {
			c.bad("when", "%v", err)
		}
		out.when = w
	}
	if r.Ticket != "" {
		out.ticket = c.pattern("ticket", r.Ticket)
	}
	for _, p := range r.Sources {
		if !p.IsValid() {
			c.bad("sources", "has an entry that is not a network; write 10.0.0.0/8 or 2001:db8::/32")
		}
	}
	if r.Effect == Deny {
		c.denyOnly()
		return out
	}
	c.times()
	c.assent()
	c.factor()
	c.channels()
	c.rest()
	return out
}

// denyOnly refuses on a deny rule what it would not obey: all but who, what
// and when.
func (c *checker) denyOnly() {
	r := c.rule
	obeyed := Rule{Name: r.Name, Effect: r.Effect, Users: r.Users, Groups: r.Groups, Machines: r.Machines, Targets: r.Targets, Kinds: r.Kinds,
		Labels: r.Labels, Logins: r.Logins, Sources: r.Sources, Hours: r.Hours, When: r.When}
	told := ""
	for _, f := range changed(obeyed, r) {
		name := f.Name
		if strings.HasPrefix(name, "channels.") { // all of them at once
			name = "channels"
		}
		if name != told {
			c.bad(name, "has no meaning in a rule that denies")
		}
		told = name
	}
}

const (
	// maxMachine is the longest window of a machine: a job ends, and what it
	// leaves open is nobody's.
	maxMachine = 4 * time.Hour
	// maxEmergency is the longest window that nobody said yes to: by then
	// somebody is awake who can.
	maxEmergency = 4 * time.Hour
)

func (c *checker) times() {
	if c.rule.Machines && c.rule.Max() > maxMachine {
		c.bad("max_duration", "%s is too long for machines: at most %s; a job that goes on asks again", Duration(c.rule.Max()), Duration(maxMachine))
	}
	if c.rule.BreakGlass != nil && c.rule.Max() > maxEmergency {
		c.bad("max_duration", "%s is too long for an emergency: at most %s; by then somebody can approve", Duration(c.rule.Max()), Duration(maxEmergency))
	}
	r := c.rule
	for field, d := range map[string]Duration{
		"max_duration": r.MaxDuration, "default_duration": r.DefaultDuration, "request_lifetime": r.RequestLifetime,
		"activate_within": r.ActivateWithin, "max_ahead": r.MaxAhead, "factor.max_age": r.Factor.MaxAge,
		"session.idle_timeout": r.Session.IdleTimeout, "postgres.statement_timeout": r.Postgres.StatementTimeout,
	} {
		c.duration(field, d)
	}
	if r.DefaultDuration.Std() > r.Max() {
		c.bad("default_duration", "%s is longer than max_duration, %s", r.DefaultDuration, Duration(r.Max()))
	}
}

// assent checks that exactly one way of saying yes is given.
func (c *checker) assent() {
	r := c.rule
	ways := 0
	for _, given := range []bool{len(r.Approve) > 0, r.Auto, r.BreakGlass != nil} {
		if given {
			ways++
		}
	}
	if ways != 1 {
		c.bad("approve", "say in one way who says yes: approve with a list, auto: true, or break_glass")
	}
	for i, q := range r.Approve {
		field := fmt.Sprintf("approve[%d]", i)
		if len(q.Groups)+len(q.Users) == 0 && !q.Owners {
			c.bad(field, "names nobody: give groups, users or owners: true")
		}
		c.list(field+".groups", q.Groups)
		c.list(field+".users", q.Users)
		if q.Count < 0 || q.Count > 20 {
			c.bad(field+".count", "%d is not between 1 and 20", q.Count)
		}
	}
	if e := r.Escalate; e != nil {
		c.duration("escalate.after", e.After)
		if e.After == 0 {
			c.bad("escalate.after", "say after how long, such as 15m")
		}
		if len(e.Groups) == 0 {
			c.bad("escalate.groups", "say which groups are asked then")
		}
		c.list("escalate.groups", e.Groups)
		if len(r.Approve) == 0 {
			c.bad("escalate", "has no meaning without approve")
		}
	}
	if b := r.BreakGlass; b != nil {
		if len(b.Notify) == 0 {
			c.bad("break_glass.notify", "say who is told at once")
		}
		if len(b.Reviews) == 0 {
			c.bad("break_glass.reviews", "say which groups review afterwards")
		}
		c.list("break_glass.notify", b.Notify)
		c.list("break_glass.reviews", b.Reviews)
	}
}

func (c *checker) factor() {
	f := c.rule.Factor
	kinds := []string{"totp", "recovery", "passkey", "oidc_job_token", "client_certificate"}
	for i, k := range f.Kinds {
		c.oneOf(fmt.Sprintf("factor.kinds[%d]", i), k, kinds...)
	}
	for i, k := range f.ApproveKinds {
		c.oneOf(fmt.Sprintf("factor.approve_kinds[%d]", i), k, kinds...)
	}
	machines := func(k string) bool { return k == "oidc_job_token" || k == "client_certificate" }
	switch people := func(k string) bool { return !machines(k) }; {
	case len(f.Kinds) == 0:
	case c.rule.Machines && !slices.ContainsFunc(f.Kinds, machines):
		c.bad("factor.kinds", "no machine has one of these; write oidc_job_token or client_certificate")
	case !c.rule.Machines && !slices.ContainsFunc(f.Kinds, people):
		c.bad("factor.kinds", "only machines have these, and the rule is for people; write totp, recovery or passkey, or machines: true")
	}
	if i := slices.IndexFunc(f.ApproveKinds, machines); i >= 0 {
		c.bad(fmt.Sprintf("factor.approve_kinds[%d]", i), "%q is for machines, which approve nothing", f.ApproveKinds[i])
	}
	c.oneOf("factor.per", f.Per, "", "grant", "session")
	for _, p := range f.SourcesShared {
		if !p.IsValid() {
			c.bad("factor.shared_sources", "has an entry that is not a network")
		}
	}
}

func (c *checker) channels() {
	ch := c.rule.Channels
	if ch == nil {
		return
	}
	c.oneOf("channels.sftp", ch.SFTP, "", "read", "write", "both")
	c.list("channels.exec_patterns", ch.ExecPatterns)
	c.list("channels.sftp_paths", ch.SFTPPaths)
	c.list("channels.env", ch.Env)
	c.list("channels.local_forward", ch.Local)
	c.list("channels.remote_forward", ch.Remote)
	if len(ch.ExecPatterns) > 0 && !ch.Exec {
		c.bad("channels.exec_patterns", "has no meaning without exec: true")
	}
	if len(ch.SFTPPaths) > 0 && ch.SFTP == "" {
		c.bad("channels.sftp_paths", "has no meaning without sftp")
	}
	for i, p := range ch.SFTPPaths {
		if !strings.HasPrefix(p, "/") {
			c.bad(fmt.Sprintf("channels.sftp_paths[%d]", i), "%q is not an absolute path", p)
		}
	}
	if strings.ContainsAny(ch.ForceCommand, "\x00\n\r") {
		c.bad("channels.force_command", "must be one line")
	}
}

func (c *checker) rest() {
	r := c.rule
	if r.Budget.Rows < 0 || r.Budget.Bytes < 0 || r.Budget.Statements < 0 {
		c.bad("budget", "has a negative number; 0 is unlimited")
	}
	c.oneOf("budget.per", r.Budget.Per, "", "session", "grant")
	c.oneOf("recording.index", r.Recording.Index, "", "off", "metadata", "full")
	if r.Recording.RetainDays < 0 {
		c.bad("recording.retain_days", "is negative; 0 is for ever")
	}
	if r.Recording.RetainDays > 36500 {
		c.bad("recording.retain_days", "is more than 100 years; leave it out to keep recordings for ever")
	}
	for i, p := range r.Recording.RedactParams {
		c.pattern(fmt.Sprintf("recording.redact_params[%d]", i), p)
	}
	for i, p := range r.Recording.Recipients {
		if err := recipient(p); err != nil {
			c.bad(fmt.Sprintf("recording.recipients[%d]", i), "%q is not an age recipient (age1…) or an ssh public key (ssh-ed25519 or ssh-rsa): %v", p, err)
		}
	}
	if r.Session.Max < 0 {
		c.bad("session.max", "is negative; 0 is unlimited")
	}
	for k := range r.Postgres.Defaults {
		if !parameter.MatchString(k) {
			c.bad("postgres.defaults", "%q is not the name of a parameter", k)
		}
	}
	if len(r.Banner) > 4000 {
		c.bad("banner", "is longer than 4000 characters")
	}
}

// recipient checks what recordings would be encrypted to: one that cannot be
// used would refuse every session of the rule.
func recipient(s string) (err error) {
	switch {
	case strings.HasPrefix(s, "age1pq1"):
		_, err = age.ParseHybridRecipient(s)
	case strings.HasPrefix(s, "ssh-"):
		_, err = agessh.ParseRecipient(s)
	default:
		_, err = age.ParseX25519Recipient(s)
	}
	return err
}
