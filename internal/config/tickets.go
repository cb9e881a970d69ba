package config

import (
	"net/netip"
	"regexp"
	"strings"
	"time"
)

var (
	nameRE   = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}$`)
	headerRE = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)
	pathRE   = regexp.MustCompile(`^[A-Za-z0-9_@$ -]+(\.[A-Za-z0-9_@$ -]+)*$`)
)

// Tickets says how the ticket of a request is checked, and where a note goes
// at the end. Without a URL no ticket is looked up.
type Tickets struct {
	URL        string         `yaml:"url"`                 // https://…/{ticket}
	Method     string         `yaml:"method"`              // GET (default), POST
	Header     string         `yaml:"header"`              // Authorization if empty
	Secret     string         `yaml:"secret" secret:"ref"` // value of the header, such as "Bearer …"
	State      string         `yaml:"state"`               // path of the state in the answer: fields.status.name, result.0.state
	Allowed    []string       `yaml:"allowed"`             // states in which a ticket counts
	Assignee   string         `yaml:"assignee"`            // path of the assignee
	AssigneeIs string         `yaml:"assignee_is"`         // name or email of the requester; empty: anybody
	Timeout    time.Duration  `yaml:"timeout"`             // 5s if zero
	Allow      []netip.Prefix `yaml:"allow"`               // inner networks that it may be in
	CAFile     string         `yaml:"ca_file"`
	Note       *TicketNote    `yaml:"note"`
}

// TicketNote is written to the ticket when a grant that named it is over.
type TicketNote struct {
	URL    string `yaml:"url"`    // https://…/{ticket}/comment
	Method string `yaml:"method"` // POST (default), PUT, PATCH
	Body   string `yaml:"body"`   // JSON in which {text} is a JSON string; {"body": {text}} if empty
}

func checkTickets(c *Config, bad func(string, string, ...any)) {
	t := c.Tickets
	if t == nil {
		return
	}
	place := func(field, s string) {
		checkURL(strings.ReplaceAll(s, "{ticket}", "T"), field, bad)
		host, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(s, "https://"), "http://"), "/")
		switch {
		case strings.Count(s, "{ticket}") != 1:
			bad(field, "must hold {ticket} once: that is where the ticket's name goes")
		case strings.Contains(host, "{"):
			bad(field, "the host cannot depend on the ticket")
		}
	}
	place("tickets.url", t.URL)
	if t.Method != "" && t.Method != "GET" && t.Method != "POST" {
		bad("tickets.method", "%q: say GET or POST", t.Method)
	}
	if t.Header != "" && !headerRE.MatchString(t.Header) {
		bad("tickets.header", "%q is not the name of a header", t.Header)
	}
	if t.Header != "" && t.Secret == "" {
		bad("tickets.secret", "say where the value of the header %s is kept", t.Header)
	}
	for field, p := range map[string]string{"tickets.state": t.State, "tickets.assignee": t.Assignee} {
		if p != "" && !pathRE.MatchString(p) {
			bad(field, "%q is not a path of names and numbers with dots, such as fields.status.name", p)
		}
	}
	if (t.State == "") != (len(t.Allowed) == 0) {
		bad("tickets.state", "state and allowed go together: where the state is, and which ones count")
	}
	if (t.Assignee == "") != (t.AssigneeIs == "") {
		bad("tickets.assignee", "assignee and assignee_is go together: where the assignee is, and what of the requester it must be")
	}
	if t.AssigneeIs != "" && t.AssigneeIs != "name" && t.AssigneeIs != "email" {
		bad("tickets.assignee_is", `%q: say "name" or "email"`, t.AssigneeIs)
	}
	if t.Timeout < 0 || t.Timeout > 30*time.Second {
		bad("tickets.timeout", "%v is not between 0 and 30s", t.Timeout)
	}
	if n := t.Note; n != nil {
		place("tickets.note.url", n.URL)
		if n.Method != "" && n.Method != "POST" && n.Method != "PUT" && n.Method != "PATCH" {
			bad("tickets.note.method", "%q: say POST, PUT or PATCH", n.Method)
		}
		if n.Body != "" && strings.Count(n.Body, "{text}") != 1 {
			bad("tickets.note.body", "must hold {text} once, without quotes around it: it becomes a JSON string")
		} else if n.Body != "" && !validJSON(strings.ReplaceAll(n.Body, "{text}", `"x"`)) {
			bad("tickets.note.body", "is not JSON once {text} is a string")
		}
	}
}
