package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // a rule means the same on a machine that has no zone files
)

// days of the week as rules write them; the index is time.Weekday.
var dayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// hours is a compiled Hours. It compares what a clock on the wall of that
// zone shows. So when clocks go forward over From, the window opens at the
// first minute after the gap; when they go back into the window, that hour is
// open twice. A window that spans midnight belongs to the day it begins on.
type hours struct {
	days     [7]bool
	from, to int // minutes of the day; to may be 1440
	loc      *time.Location
	text     string
}

func compileHours(h *Hours) (*hours, string, error) {
	c := &hours{to: 24 * 60, loc: time.UTC}
	for _, d := range h.Days {
		i := slices.Index(dayNames, strings.ToLower(d))
		if i < 0 {
			return nil, "hours.days", fmt.Errorf("%q is not a day; write mon, tue, wed, thu, fri, sat or sun", d)
		}
		c.days[i] = true
	}
	if len(h.Days) == 0 {
		c.days = [7]bool{true, true, true, true, true, true, true}
	}
	var err error
	if h.From != "" {
		if c.from, err = clockMinutes(h.From); err != nil {
			return nil, "hours.from", err
		}
	}
	if h.To != "" {
		if c.to, err = clockMinutes(h.To); err != nil {
			return nil, "hours.to", err
		}
	}
	if c.from == 24*60 {
		return nil, "hours.from", fmt.Errorf("24:00 is the end of a day; write 00:00")
	}
	if c.from == c.to {
		return nil, "hours.to", fmt.Errorf("from and to are both %s: the window is empty; for the whole day leave both out", h.From)
	}
	if h.Zone != "" {
		// "Local" would make a rule mean something else on another machine.
		if strings.EqualFold(h.Zone, "local") {
			return nil, "hours.zone", fmt.Errorf("name the zone, such as Europe/Berlin")
		}
		if c.loc, err = time.LoadLocation(h.Zone); err != nil {
			return nil, "hours.zone", fmt.Errorf("%q is not a time zone; write an IANA name such as Europe/Berlin, or UTC", h.Zone)
		}
	}
	days := "every day"
	if len(h.Days) > 0 {
		days = strings.ToLower(strings.Join(h.Days, " "))
	}
	c.text = fmt.Sprintf("%s %02d:%02d to %02d:%02d %s", days, c.from/60, c.from%60, c.to/60, c.to%60, c.loc)
	return c, "", nil
}

// clockMinutes reads HH:MM, up to 24:00.
func clockMinutes(s string) (int, error) {
	var h, m int
	bad := fmt.Errorf("%q is not a time of day; write HH:MM, such as 08:30", s)
	if len(s) != 5 || s[2] != ':' {
		return 0, bad
	}
	for _, i := range []int{0, 1, 3, 4} {
		if s[i] < '0' || s[i] > '9' {
			return 0, bad
		}
	}
	h = int(s[0]-'0')*10 + int(s[1]-'0')
	m = int(s[3]-'0')*10 + int(s[4]-'0')
	if m > 59 || h > 24 || h == 24 && m > 0 {
		return 0, bad
	}
	return h*60 + m, nil
}

// open reports whether t lies in the window.
func (h *hours) open(t time.Time) bool {
	w := t.In(h.loc)
	now, today := w.Hour()*60+w.Minute(), w.Weekday()
	if h.from < h.to {
		return h.days[today] && h.from <= now && now < h.to
	}
	yesterday := (today + 6) % 7
	return h.days[today] && now >= h.from || h.days[yesterday] && now < h.to
}

// closes returns the first instant after t, up to the horizon, at which the
// window is closed; the horizon if there is none. Windows begin and end on
// whole minutes of the wall clock, and so do all changes of today's zones.
func (h *hours) closes(t, horizon time.Time) time.Time {
	if !h.open(t) {
		return t
	}
	for m := t.Truncate(time.Minute).Add(time.Minute); m.Before(horizon); m = m.Add(time.Minute) {
		if !h.open(m) {
			return m
		}
	}
	return horizon
}
