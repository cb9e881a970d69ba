package notify

import (
	"fmt"
	"time"

	"jit-gateway/internal/audit"
	"jit-gateway/internal/display"
	"jit-gateway/internal/identity"
)

// About is what a message is about: what a channel can be limited to.
type About string

// What messages are about.
const (
	Request    About = "request"     // somebody asks: to those who can approve
	Decision   About = "decision"    // approved, denied, expired: to the requester
	Escalation About = "escalation"  // nobody answered: to the further groups
	BreakGlass About = "break_glass" // an emergency: to everybody named, at once
	Review     About = "review"      // an emergency is over: to those who review it
	Finding    About = "finding"     // something unusual: to auditors
	Expiring   About = "expiring"    // a grant ends soon: to its user
	Ended      About = "ended"       // somebody ended it: to its user
	Account    About = "account"     // an account was disabled, or will be: to its user and administrators
	Alarm      About = "alarm"       // an after-check or a recording failed: to administrators
	Change     About = "change"      // a change waits for a second administrator
)

// Abouts is all of them, for the configuration's errors.
var Abouts = []About{Request, Decision, Escalation, BreakGlass, Review, Finding, Expiring, Ended, Account, Alarm, Change}

// Message is what people are told. Text in it is raw: each channel makes it
// harmless in its own way.
type Message struct {
	ID     string // the same at every try: the event's
	Time   time.Time
	Type   audit.Type
	About  About
	Urgent bool
	Title  Text
	Facts  []Fact
	Next   Text   // what to do
	Link   string // to the page; empty without one

	User, Target, Request, Grant string // as the event has them
	To                           []identity.User
}

// Fact is a name of ours and a value of somebody's.
type Fact struct{ Name, Value string }

// Text is a sentence of ours with values of others in it.
type Text struct {
	format string
	values []string
}

func text(format string, values ...string) Text { return Text{format, values} }

// Show is the sentence with each value passed through mark.
func (t Text) Show(mark func(string) string) string {
	args := make([]any, len(t.values))
	for i, v := range t.values {
		args[i] = mark(v)
	}
	return fmt.Sprintf(t.format, args...)
}

// Plain is the sentence as plain text on one line.
func (t Text) Plain() string { return t.Show(line) }

// maxValue is how much of a value a message shows.
const maxValue = 300

func line(s string) string { return display.Line(s, maxValue) }

func (m *Message) fact(name, value string) {
	if value != "" {
		m.Facts = append(m.Facts, Fact{name, value})
	}
}

func (m Message) names() []string {
	var out []string
	for _, u := range m.To {
		out = append(out, u.Name)
	}
	return out
}
