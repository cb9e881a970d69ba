package risk

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

const (
	day      = 24 * time.Hour
	lookBack = 365 * day // how long a first time stays known
	maxRows  = 2000      // of one list

	hourSample   = 10  // sessions before an hour can be unusual
	afterDenial  = day // how long a denial is a short while ago
	denialBurst  = 3   // denials in a day
	failureBurst = 3   // wrong codes in an hour
	idleFor      = 4 * time.Hour
	volumeSample = 5                // sessions before a volume can be unusual
	volumeTimes  = 10               // times the median
	volumeFloor  = 10 << 20         // bytes below which no volume is unusual
	stampVotes   = 5                // approvals in a day …
	stampWithin  = 15 * time.Second // … each within this of the request
)

// Facts is what rules may see of the past. Its fields are those of policy.History.
type Facts struct {
	Requests30d, Denials7d, Sessions30d, OnTarget30d, Failures1h int
}

// past is everything that is looked at, read once.
type past struct {
	Subject
	sessions []PastSession
	requests []PastRequest
	grants   []PastGrant
	failures int
}

// Assess returns the findings about a request that is being filed, and the
// facts that rules may use.
func Assess(ctx context.Context, h History, s Subject) ([]Finding, Facts, error) {
	p := past{Subject: s}
	var err error
	if p.sessions, err = h.PastSessions(ctx, s.UserID, s.Now.Add(-lookBack), maxRows); err != nil {
		return nil, Facts{}, fmt.Errorf("read past sessions: %w", err)
	}
	if p.requests, err = h.PastRequests(ctx, s.UserID, s.Now.Add(-30*day), maxRows); err != nil {
		return nil, Facts{}, fmt.Errorf("read past requests: %w", err)
	}
	if p.grants, err = h.PastGrants(ctx, s.UserID, s.Now.Add(-30*day), maxRows); err != nil {
		return nil, Facts{}, fmt.Errorf("read past grants: %w", err)
	}
	if p.failures, err = h.FactorFailures(ctx, s.UserID, s.Now.Add(-time.Hour)); err != nil {
		return nil, Facts{}, fmt.Errorf("read failed codes: %w", err)
	}
	var out []Finding
	for _, look := range []func(past) []Finding{firstTimes, firstNetwork, unusualHour, denials, failures, idleGrants, volume} {
		out = append(out, look(p)...)
	}
	return out, p.facts(), nil
}

func (p past) facts() Facts {
	f := Facts{Requests30d: len(p.requests), Failures1h: p.failures}
	for _, r := range p.requests {
		if r.State == "denied" && !r.DecidedAt.Before(p.Now.Add(-7*day)) {
			f.Denials7d++
		}
	}
	for _, s := range p.sessions {
		if s.StartedAt.Before(p.Now.Add(-30 * day)) {
			continue
		}
		f.Sessions30d++
		if slices.Contains(p.Targets, s.Target) {
			f.OnTarget30d++
		}
	}
	return f
}

func firstTimes(p past) []Finding {
	var out []Finding
	for _, t := range p.Targets {
		onTarget, withLogin := 0, 0
		for _, s := range p.sessions {
			if s.Target == t {
				onTarget++
				if s.Login == p.Login {
					withLogin++
				}
			}
		}
		switch {
		case onTarget == 0:
			out = append(out, Finding{FirstTarget, "first time on " + t, map[string]string{"target": t, "sessions_365d": "0"}})
		case withLogin == 0:
			out = append(out, Finding{FirstLogin, fmt.Sprintf("first time as %s on %s", p.Login, t),
				map[string]string{"target": t, "login": p.Login, "sessions_365d": strconv.Itoa(onTarget)}})
		}
	}
	return out
}

// network is the /24 or /64 of an address.
func network(source string) (netip.Prefix, bool) {
	a, err := netip.ParseAddr(source)
	if err != nil {
		return netip.Prefix{}, false
	}
	a = a.Unmap().WithZone("")
	bits := 24
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	return p, err == nil
}

func firstNetwork(p past) []Finding {
	here, ok := network(p.Source)
	if !ok || len(p.sessions) == 0 { // the first session of all comes from somewhere
		return nil
	}
	for _, s := range p.sessions {
		if n, ok := network(s.Source); ok && n == here {
			return nil
		}
	}
	return []Finding{{FirstNetwork, "first time from the network " + here.String(),
		map[string]string{"network": here.String(), "sessions_365d": strconv.Itoa(len(p.sessions))}}}
}

func unusualHour(p past) []Finding {
	zone := p.Zone
	if zone == nil {
		zone = time.UTC
	}
	now := p.Now.In(zone).Hour()
	n := 0
	for _, s := range p.sessions {
		if s.StartedAt.Before(p.Now.Add(-90 * day)) {
			continue
		}
		n++
		d := (s.StartedAt.In(zone).Hour() - now + 24) % 24
		if d <= 1 || d >= 23 {
			return nil
		}
	}
	if n < hourSample {
		return nil
	}
	return []Finding{{UnusualHour, fmt.Sprintf("none of %d sessions in 90 days began within an hour of %02d:00 %s", n, now, zone),
		map[string]string{"hour": strconv.Itoa(now), "zone": zone.String(), "sessions_90d": strconv.Itoa(n)}}}
}

func denials(p past) []Finding {
	var out []Finding
	today, told := 0, false
	for _, r := range p.requests {
		ago := p.Now.Sub(r.DecidedAt)
		if r.State != "denied" || r.DecidedAt.IsZero() || ago > afterDenial || ago < 0 {
			continue
		}
		today++
		same := slices.ContainsFunc(r.Targets, func(t string) bool { return slices.Contains(p.Targets, t) })
		if same && !told {
			told = true
			out = append(out, Finding{AfterDenial, fmt.Sprintf("request %s for the same was denied %s ago", r.ID, ago.Round(time.Minute)),
				map[string]string{"request": r.ID, "denied_at": r.DecidedAt.UTC().Format(time.RFC3339)}})
		}
	}
	if today >= denialBurst {
		out = append(out, Finding{DenialBurst, fmt.Sprintf("%d requests were denied within a day", today),
			map[string]string{"denials_24h": strconv.Itoa(today)}})
	}
	return out
}

func failures(p past) []Finding {
	if p.failures < failureBurst {
		return nil
	}
	return []Finding{{FailureBurst, fmt.Sprintf("%d wrong codes within an hour", p.failures),
		map[string]string{"failures_1h": strconv.Itoa(p.failures)}}}
}

func idleGrants(p past) []Finding {
	var out []Finding
	for _, g := range p.grants {
		if !g.Ended.IsZero() || !p.Now.Before(g.End) {
			continue
		}
		since := g.Start
		if g.LastSession.After(since) {
			since = g.LastSession
		}
		if idle := p.Now.Sub(since); idle >= idleFor {
			out = append(out, Finding{IdleGrant, fmt.Sprintf("grant %s has been open and unused for %s", g.ID, idle.Round(time.Minute)),
				map[string]string{"grant": g.ID, "idle": idle.Round(time.Second).String(), "sessions": strconv.Itoa(g.Sessions)}})
		}
	}
	return out
}

// volume compares the largest session of the last day with the median of those before.
func volume(p past) []Finding {
	var before []int64
	var largest int64
	for _, s := range p.sessions {
		if s.StartedAt.After(p.Now.Add(-day)) {
			largest = max(largest, s.Bytes)
		} else {
			before = append(before, s.Bytes)
		}
	}
	if len(before) < volumeSample || largest < volumeFloor {
		return nil
	}
	slices.Sort(before)
	median := before[len(before)/2]
	if largest < volumeTimes*median {
		return nil
	}
	return []Finding{{UnusualVolume, fmt.Sprintf("a session of the last day moved %d MB; the median is %d MB", largest>>20, median>>20),
		map[string]string{"bytes": strconv.FormatInt(largest, 10), "median_bytes": strconv.FormatInt(median, 10), "sessions": strconv.Itoa(len(before))}}}
}

// Approver returns the findings about somebody who approves.
func Approver(ctx context.Context, h History, userID string, now time.Time) ([]Finding, error) {
	votes, err := h.PastVotes(ctx, userID, now.Add(-day), maxRows)
	if err != nil {
		return nil, fmt.Errorf("read past votes: %w", err)
	}
	quick := 0
	for _, v := range votes {
		if v.At.Sub(v.FiledAt) < stampWithin {
			quick++
		}
	}
	if quick < stampVotes {
		return nil, nil
	}
	return []Finding{{RubberStamp, fmt.Sprintf("%d of %d approvals within a day came less than %s after the request", quick, len(votes), stampWithin),
		map[string]string{"quick_24h": strconv.Itoa(quick), "votes_24h": strconv.Itoa(len(votes))}}}, nil
}
