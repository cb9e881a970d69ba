package policy

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Defaults for what a rule does not say.
const (
	defaultMax      = time.Hour
	defaultDuration = 30 * time.Minute
	defaultLifetime = 24 * time.Hour
	defaultActivate = 8 * time.Hour
	defaultAhead    = 7 * 24 * time.Hour

	longest = 30 * 24 * time.Hour // of any duration in a rule: more is standing access
)

// ParseDuration reads 90s, 30m, 8h, 1h30m or 7d.
func ParseDuration(s string) (Duration, error) {
	text := strings.TrimSpace(s)
	var days int64
	if head, tail, ok := strings.Cut(text, "d"); ok {
		n, err := strconv.ParseInt(head, 10, 32)
		if err != nil || n < 0 {
			return 0, fmt.Errorf("%q is not a duration; write 90s, 30m, 8h or 7d", s)
		}
		days, text = n, tail
		if text == "" {
			text = "0s"
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is not a duration; write 90s, 30m, 8h or 7d", s)
	}
	if days > 36500 {
		return 0, fmt.Errorf("%q is too long", s)
	}
	return Duration(time.Duration(days)*24*time.Hour + d), nil
}

// String is the shortest form that ParseDuration reads back: 8h, 1h30m, 7d.
func (d Duration) String() string {
	t := time.Duration(d)
	if t == 0 {
		return "0s"
	}
	if t > 0 && t%(24*time.Hour) == 0 {
		return fmt.Sprintf("%dd", t/(24*time.Hour))
	}
	s := t.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText encodes d as String does, in YAML and JSON.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText decodes what ParseDuration reads.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := ParseDuration(string(b))
	if err != nil {
		return err
	}
	*d = v
	return nil
}

func or(d Duration, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d.Std()
	}
	return otherwise
}

// Max is the longest duration that the rule allows.
func (r Rule) Max() time.Duration { return or(r.MaxDuration, defaultMax) }

// Default is the duration when none is asked for.
func (r Rule) Default() time.Duration {
	return min(or(r.DefaultDuration, defaultDuration), r.Max())
}

// Lifetime is how long a request waits for answers.
func (r Rule) Lifetime() time.Duration { return or(r.RequestLifetime, defaultLifetime) }

// Activation is how long a grant waits for its code.
func (r Rule) Activation() time.Duration { return or(r.ActivateWithin, defaultActivate) }

// Ahead is how far in the future a start may lie.
func (r Rule) Ahead() time.Duration { return or(r.MaxAhead, defaultAhead) }

// SSH is what an SSH session under the rule may open: Channels, or the default.
func (r Rule) SSH() Channels {
	if r.Channels != nil {
		return *r.Channels
	}
	return DefaultChannels()
}
