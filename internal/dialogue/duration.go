package dialogue

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ParseDuration reads a duration as people write it: 30m, 1h30m, 2d, or a
// bare number of minutes. It must be positive.
func ParseDuration(s string) (time.Duration, error) {
	bad := fmt.Errorf("%q is not a duration like 30m, 1h30m or 2d", s)
	s = strings.ToLower(strings.ReplaceAll(s, " ", ""))
	if len(s) > 32 {
		return 0, bad
	}
	if n, err := strconv.ParseUint(s, 10, 16); err == nil && n > 0 {
		return time.Duration(n) * time.Minute, nil
	}
	var days time.Duration
	if head, rest, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.ParseUint(head, 10, 12)
		if err != nil {
			return 0, bad
		}
		days, s = time.Duration(n)*24*time.Hour, rest
	}
	var d time.Duration
	if s != "" {
		var err error
		if d, err = time.ParseDuration(strings.Replace(s, "min", "m", 1)); err != nil || d < 0 {
			return 0, bad
		}
	}
	if d+days <= 0 || d+days < d {
		return 0, bad
	}
	return d + days, nil
}

// ShortDuration is d as ParseDuration reads it: 30m, 1h, 1h30m.
func ShortDuration(d time.Duration) string {
	return spell(d, "d", "h", "m", "s", "")
}

// LongDuration is d for a sentence: 30 min, 1 h 30 min, 45 s.
func LongDuration(d time.Duration) string {
	return spell(d, " d", " h", " min", " s", " ")
}

// spell rounds to what a person would say: seconds below two minutes, then
// minutes.
func spell(d time.Duration, day, hour, minute, second, sep string) string {
	if d < 0 {
		d = 0
	}
	var parts []string
	add := func(n int64, unit string) {
		if n > 0 {
			parts = append(parts, strconv.FormatInt(n, 10)+unit)
		}
	}
	if d >= 2*time.Minute {
		d = d.Round(time.Minute)
	} else {
		d = d.Round(time.Second)
	}
	s := int64(d / time.Second)
	add(s/86400, day)
	add(s%86400/3600, hour)
	add(s%3600/60, minute)
	add(s%60, second)
	if len(parts) == 0 {
		return "0" + second
	}
	return strings.Join(parts, sep)
}
