package policy

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// Stricter combines what a grant was approved under (a) with what the rule
// says now (b): whatever either of them forbids is forbidden, whatever either
// demands is demanded. Conditions (hours, ticket, when) are not combined;
// callers check both rules. Where two lists of patterns cannot be intersected
// exactly, less is allowed, never more.
func Stricter(a, b Rule) Rule {
	r := b
	if a.Hash() == b.Hash() {
		return r
	}
	r.MaxDuration = Duration(min(a.Max(), b.Max()))
	r.DefaultDuration = Duration(min(a.Default(), b.Default()))
	r.Sources = networks(a.Sources, b.Sources)
	r.Factor = stricterFactor(a.Factor, b.Factor)
	ch := stricterChannels(a.SSH(), b.SSH())
	r.Channels = &ch
	r.Tunnel = a.Tunnel && b.Tunnel
	r.Direct = a.Direct && b.Direct
	r.Budget = Budget{
		Rows:       least(a.Budget.Rows, b.Budget.Rows),
		Bytes:      least(a.Budget.Bytes, b.Budget.Bytes),
		Statements: least(a.Budget.Statements, b.Budget.Statements),
		Per:        b.Budget.Per,
	}
	if a.Budget.Per == "grant" { // one budget for all sessions together is the smaller one
		r.Budget.Per = "grant"
	}
	r.Recording = stricterRecording(a.Recording, b.Recording)
	r.Session = Session{
		IdleTimeout:   least(a.Session.IdleTimeout, b.Session.IdleTimeout),
		Max:           least(a.Session.Max, b.Session.Max),
		TellWatched:   a.Session.TellWatched || b.Session.TellWatched,
		EndsWithLast:  a.Session.EndsWithLast || b.Session.EndsWithLast,
		ApproversView: a.Session.ApproversView && b.Session.ApproversView,
	}
	r.Postgres.ReadOnly = a.Postgres.ReadOnly || b.Postgres.ReadOnly
	r.Postgres.StatementTimeout = least(a.Postgres.StatementTimeout, b.Postgres.StatementTimeout)
	if len(a.Postgres.Defaults) > 0 {
		r.Postgres.Defaults = maps.Clone(a.Postgres.Defaults)
		maps.Copy(r.Postgres.Defaults, b.Postgres.Defaults)
	}
	if r.Banner == "" {
		r.Banner = a.Banner
	}
	return r
}

// least is the smaller of two limits of which zero is none.
func least[T ~int | ~int64](a, b T) T {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

func stricterFactor(a, b Factor) Factor {
	f := Factor{MaxAge: least(a.MaxAge, b.MaxAge), Kinds: kinds(a.Kinds, b.Kinds), ApproveKinds: kinds(a.ApproveKinds, b.ApproveKinds)}
	if a.Per == "session" || b.Per == "session" {
		f.Per = "session"
	}
	if len(a.SourcesShared) > 0 && len(b.SourcesShared) > 0 {
		f.SourcesShared = networks(a.SourcesShared, b.SourcesShared)
	}
	return f
}

// kinds intersects two lists of which the empty one is everything. Where
// nothing is left, "none" stands for it, which no factor is.
func kinds(a, b []string) []string {
	if len(a) == 0 || len(b) == 0 {
		return slices.Concat(a, b)
	}
	var out []string
	for _, k := range a {
		if slices.Contains(b, k) {
			out = append(out, k)
		}
	}
	if out == nil {
		return []string{"none"}
	}
	return out
}

// networks intersects two lists of which the empty one is everything. Where
// nothing is left, a network that no client comes from stands for it.
func networks(a, b []netip.Prefix) []netip.Prefix {
	if len(a) == 0 || len(b) == 0 {
		return slices.Concat(a, b)
	}
	var out []netip.Prefix
	for _, p := range a {
		for _, q := range b {
			if !p.Overlaps(q) {
				continue
			}
			if p.Bits() >= q.Bits() {
				out = append(out, p)
			} else {
				out = append(out, q)
			}
		}
	}
	if out == nil {
		return []netip.Prefix{netip.MustParsePrefix("255.255.255.255/32")}
	}
	return out
}

func stricterChannels(a, b Channels) Channels {
	c := Channels{
		Shell: a.Shell && b.Shell,
		Exec:  a.Exec && b.Exec,
		SFTP:  stricterSFTP(a.SFTP, b.SFTP),
		Agent: a.Agent && b.Agent,
		Env:   patterns(a.Env, b.Env), Local: patterns(a.Local, b.Local), Remote: patterns(a.Remote, b.Remote),
	}
	// An empty list of commands or paths is no restriction.
	switch {
	case len(a.ExecPatterns) == 0 || len(b.ExecPatterns) == 0:
		c.ExecPatterns = slices.Concat(a.ExecPatterns, b.ExecPatterns)
	default:
		c.ExecPatterns = patterns(a.ExecPatterns, b.ExecPatterns)
		c.Exec = c.Exec && len(c.ExecPatterns) > 0
	}
	switch {
	case len(a.SFTPPaths) == 0 || len(b.SFTPPaths) == 0:
		c.SFTPPaths = slices.Concat(a.SFTPPaths, b.SFTPPaths)
	default:
		c.SFTPPaths = prefixes(a.SFTPPaths, b.SFTPPaths)
		if len(c.SFTPPaths) == 0 {
			c.SFTP = ""
		}
	}
	switch {
	case a.ForceCommand == b.ForceCommand || a.ForceCommand == "":
		c.ForceCommand = b.ForceCommand
	case b.ForceCommand == "":
		c.ForceCommand = a.ForceCommand
	default: // two different commands cannot both be forced
		c.Shell, c.Exec, c.ForceCommand = false, false, b.ForceCommand
	}
	return c
}

func stricterSFTP(a, b string) string {
	switch {
	case a == b || a == "both":
		return b
	case b == "both":
		return a
	}
	return "" // read of one and write of the other
}

// patterns are those of either list that a pattern of the other covers.
func patterns(a, b []string) []string {
	var out []string
	add := func(ps, others []string) {
		for _, p := range ps {
			if !slices.Contains(out, p) && slices.ContainsFunc(others, func(o string) bool { return covers(o, p) }) {
				out = append(out, p)
			}
		}
	}
	add(a, b)
	add(b, a)
	return out
}

// prefixes is the same for path prefixes.
func prefixes(a, b []string) []string {
	below := func(p, dir string) bool {
		dir = strings.TrimSuffix(dir, "/")
		return p == dir || strings.HasPrefix(p, dir+"/")
	}
	var out []string
	add := func(ps, others []string) {
		for _, p := range ps {
			if !slices.Contains(out, p) && slices.ContainsFunc(others, func(o string) bool { return below(p, o) }) {
				out = append(out, p)
			}
		}
	}
	add(a, b)
	add(b, a)
	return out
}

func stricterRecording(a, b Recording) Recording {
	r := Recording{
		Strict:       a.Strict || b.Strict,
		Input:        a.Input || b.Input,
		Content:      a.Content || b.Content,
		TwoToDelete:  a.TwoToDelete || b.TwoToDelete,
		Index:        b.Index,
		Recipients:   b.Recipients,
		RedactParams: slices.Compact(slices.Sorted(slices.Values(slices.Concat(a.RedactParams, b.RedactParams)))),
	}
	if len(r.Recipients) == 0 { // once promised to be encrypted, it is
		r.Recipients = a.Recipients
	}
	order := []string{"off", "metadata", "full"}
	rank := func(s string) int {
		if i := slices.Index(order, s); i >= 0 {
			return i
		}
		return 2
	}
	if rank(a.Index) < rank(b.Index) {
		r.Index = a.Index
	}
	if a.RetainDays > 0 && b.RetainDays > 0 { // the longer duty to keep
		r.RetainDays = max(a.RetainDays, b.RetainDays)
	}
	return r
}
