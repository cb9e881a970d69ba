package web

import (
	"slices"
	"strings"
	"time"

	"jit-gateway/recording"
)

// moment is one entry of a timeline: an event, and what became of it.
type moment struct {
	recording.Event
	Results []recording.SQL // of a statement
	Damage  string          // instead of an event
}

// timeline is a stretch of what happened beside the screen.
type timeline struct {
	list  []moment
	last  time.Duration // up to which it goes
	whole bool          // nothing comes after it
}

const (
	timelineMax  = 200      // moments on a page
	timelineRead = 24 << 20 // bytes of a recording that are read for one
	resultsAfter = 64       // events after a full page that may still be a result of its last statement
)

// kinds of events, by what the page calls them.
var kindsOf = map[string][]recording.Kind{
	"sql":      {recording.KindSQL},
	"files":    {recording.KindSFTP, recording.KindFile},
	"commands": {recording.KindExec, recording.KindShell, recording.KindExit, recording.KindSignal},
	"forwards": {recording.KindForward},
}

// shows are the filters that make sense for a protocol.
func shows(protocol string) []string {
	if protocol == "postgres" {
		return []string{"sql", "errors"}
	}
	return []string{"commands", "files", "forwards"}
}

// readTimeline reads on from a moment. Damage is an entry of its own: what
// comes after it is shown.
func readTimeline(rec *recording.Reader, from time.Duration, show string) timeline {
	tl := timeline{whole: true, last: max(from, 0)}
	read, seen := 0, 0 // bytes; events since the page was full
	for ev, err := range rec.After(from) {
		if err != nil {
			if tl.whole {
				tl.list = append(tl.list, moment{Event: recording.Event{T: tl.last, Kind: "damage"}, Damage: sentence(err)})
			}
			continue
		}
		if tl.whole && ev.T > tl.last && (len(tl.list) >= timelineMax || read > timelineRead) {
			tl.whole = false
		}
		if !tl.whole {
			if seen++; seen > resultsAfter {
				break
			}
			joinResult(tl.list, ev)
			continue
		}
		tl.last = ev.T
		read += len(ev.Data) + 256
		seen++
		switch {
		case joinResult(tl.list, ev), !shown(ev, show):
		case from >= 0 && seen <= resultsAfter && isResult(ev): // the page before has shown it
		default:
			tl.list = append(tl.list, moment{Event: ev})
		}
		if len(tl.list) >= timelineMax || read > timelineRead {
			seen = 0
		}
	}
	if show == "errors" {
		tl.list = slices.DeleteFunc(tl.list, func(m moment) bool { return m.Damage == "" && !m.failed() })
	}
	return tl
}

func isResult(ev recording.Event) bool {
	q, ok := ev.Payload.(recording.SQL)
	return ok && q.Op == "result" && q.Seq != 0
}

// shown tells what is worth a line.
func shown(ev recording.Event, show string) bool {
	if kinds, ok := kindsOf[show]; ok {
		return slices.Contains(kinds, ev.Kind)
	}
	if show == "errors" {
		return ev.Kind == recording.KindSQL
	}
	switch ev.Kind {
	case recording.KindOutput, recording.KindInput, recording.KindResize, recording.KindOpen, recording.KindClose, recording.KindEnv, recording.KindScreen:
		return false
	}
	return true
}

// joinResult gives an outcome to the statement that it belongs to.
func joinResult(list []moment, ev recording.Event) bool {
	if !isResult(ev) {
		return false
	}
	q := ev.Payload.(recording.SQL)
	for i := len(list) - 1; i >= 0 && i >= len(list)-32; i-- {
		if p, ok := list[i].Payload.(recording.SQL); ok && p.Seq == q.Seq {
			list[i].Results = append(list[i].Results, q)
			return true
		}
	}
	return false
}

// failed reports whether the statement did not work.
func (m moment) failed() bool {
	if p, ok := m.Payload.(recording.SQL); ok && (p.Error != "" || p.Op == "refused") {
		return true
	}
	return slices.ContainsFunc(m.Results, func(q recording.SQL) bool { return q.Error != "" })
}

// Replays reports whether the moment is one that a player can jump to.
func (m moment) Replays() bool {
	return m.Damage == "" && (m.Kind == recording.KindShell || m.Kind == recording.KindExec)
}

// clock is a moment of a recording, as the player shows it.
func clock(d time.Duration) string {
	sec := int(d / time.Second)
	if sec >= 3600 {
		return time.Unix(int64(sec), 0).UTC().Format("15:04:05")
	}
	return time.Unix(int64(sec), 0).UTC().Format("04:05")
}

// lines of a text, without the empty end.
func lines(s string) []string { return strings.Split(strings.TrimSpace(s), "\n") }
