package store

import "time"

// Line is one piece of a recording that can be searched for: a rendered
// terminal line, a statement, a path.
type Line struct {
	At   time.Duration // since the session's start
	Kind string        // output, input, exec, sql, path, …: as the recording names it
	Text string
}

// LineFilter narrows a search; zero fields select all.
type LineFilter struct {
	UserID  string
	Target  string
	Session string
	Kind    string
	Since   time.Time // of the line, not of the session's start
	Until   time.Time
	Limit   int // 100 if zero
}

// LineHit is one line that was found. Excerpt holds the words that matched
// between U+0002 and U+0003, which no indexed text contains.
type LineHit struct {
	Session   string        `json:"session"`
	UserID    string        `json:"user_id"`
	User      string        `json:"user"`
	Target    string        `json:"target"`
	StartedAt time.Time     `json:"started_at"`
	At        time.Duration `json:"at"`
	Kind      string        `json:"kind"`
	Text      string        `json:"text"`
	Excerpt   string        `json:"excerpt"`
}

// Marks around the words of LineHit.Excerpt that matched.
const (
	MarkStart = "\x02"
	MarkEnd   = "\x03"
)
