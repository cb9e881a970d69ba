package sqlstore

import (
	"maps"
	"sync"
	"unicode/utf8"

	"jit-gateway/internal/audit"
)

// recent keeps the newest events as they were committed, for those who follow
// the log: all of them ask for each event within the same millisecond. It has
// only what this process committed, without a gap, so it is of use where nobody
// else writes.
type recent struct {
	mu     sync.Mutex
	leaves []recentLeaf // in order, the newest last
}

type recentLeaf struct {
	audit.Leaf
	event *audit.Event // as the leaf decodes; shared, so nobody changes it. nil: nobody has asked
}

// asDecoded is the event as its leaf decodes, without decoding it; nil where
// that could be another one. The caller may go on using what e refers to.
func asDecoded(e audit.Event) *audit.Event {
	if e.Time != e.Time.Round(0).UTC() {
		return nil
	}
	for _, s := range [...]string{e.ID, string(e.Type), string(e.Outcome), e.Actor.ID, e.Actor.Name, e.Actor.Source, e.Actor.Via,
		e.User, e.Target, e.Request, e.Grant, e.Session, e.Reason} {
		if !utf8.ValidString(s) { // JSON has a replacement for what is not
			return nil
		}
	}
	for k, v := range e.Detail {
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return nil
		}
	}
	if e.Detail = maps.Clone(e.Detail); len(e.Detail) == 0 {
		e.Detail = nil
	}
	return &e
}

// recentMax bounds what is kept: a few hundred KiB.
const recentMax = 512

// add keeps what a commit of this process has appended.
func (r *recent) add(leaves []recentLeaf) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range leaves {
		if n := len(r.leaves); n > 0 && r.leaves[n-1].Seq+1 != l.Seq {
			r.leaves = r.leaves[:0]
		}
		r.leaves = append(r.leaves, l)
	}
	if over := len(r.leaves) - recentMax; over > 0 {
		n := copy(r.leaves, r.leaves[over:])
		clear(r.leaves[n:])
		r.leaves = r.leaves[:n]
	}
}

// forget is for when it is not sure any more what was committed.
func (r *recent) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leaves = nil
}

// after returns at most n events behind the cursor; ok is false where they are
// not all here.
func (r *recent) after(seq int64, n int) (out []audit.Event, ok bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.leaves) == 0 || seq+1 < r.leaves[0].Seq {
		return nil, false, nil
	}
	from := int(min(seq+1-r.leaves[0].Seq, int64(len(r.leaves))))
	for i := from; i < len(r.leaves) && len(out) < n; i++ {
		l := &r.leaves[i]
		if l.event == nil {
			e, err := decode[audit.Event](string(l.Data))
			if err != nil {
				return nil, false, err
			}
			l.event = &e
		}
		out = append(out, *l.event)
	}
	return out, true, nil
}
