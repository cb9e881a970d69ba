package web

import (
	"time"

	"jit-gateway/recording"
)

// moment is one entry of a timeline: an event, and what became of it.
type moment struct {
	recording.Event
	Results []recording.SQL // of a statement
}

// addMoment appends an event; the outcome of a statement joins it.
func addMoment(list []moment, ev recording.Event) []moment {
	if q, ok := ev.Payload.(recording.SQL); ok && q.Op == "result" && q.Seq != 0 {
		for i := len(list) - 1; i >= 0 && i >= len(list)-32; i-- {
			if p, ok := list[i].Payload.(recording.SQL); ok && p.Seq == q.Seq {
				list[i].Results = append(list[i].Results, q)
				return list
			}
		}
	}
	return append(list, moment{Event: ev})
}

// clock is a moment of a recording, as the player shows it.
func clock(d time.Duration) string {
	sec := int(d / time.Second)
	if sec >= 3600 {
		return time.Unix(int64(sec), 0).UTC().Format("15:04:05")
	}
	return time.Unix(int64(sec), 0).UTC().Format("04:05")
}
