package evidence

import (
	"slices"
	"time"

	"jit-gateway/internal/audit"
)

// belongs: everything that the gateway put in is there, unchanged, and nothing
// is there that it did not put in. Proofs of inclusion cannot say that: whoever
// hands a pack on could leave a session out, or put another grant's events in.
func (p *pack) belongs(m Manifest, vkey string) {
	raw, err := p.read(manifestName, maxDocument)
	if err != nil {
		p.check(false, "%v", err)
		return
	}
	note, err := p.read(noteName, maxDocument)
	if err != nil {
		p.check(false, "nothing shows that the pack is whole: %v", err)
		return
	}
	text, err := audit.OpenText(string(note), vkey)
	if err != nil {
		p.check(false, "the gateway's signature over what belongs to the pack: %v", err)
		return
	}
	if text != manifestText(m.Grant, hashOf(raw)) {
		p.check(false, "the gateway signed another list of what belongs to the pack")
		return
	}
	whole := true
	bad := func(format string, args ...any) { whole = p.check(false, format, args...) }
	for _, name := range []string{requestName, grantName, sessionsName} {
		if b, err := p.read(name, maxDocument); err != nil {
			bad("%v", err)
		} else if m.Documents[name] != hashOf(b) {
			bad("%s is not the one that the gateway put in", name)
		}
	}
	have := make([]int64, 0, len(p.events))
	for _, e := range p.events {
		have = append(have, e.Seq)
	}
	if missing := without(m.Events, have); len(missing) > 0 {
		bad("%d of the grant's events are not in the pack, the first is number %d", len(missing), missing[0])
	}
	if foreign := without(have, m.Events); len(foreign) > 0 {
		bad("%d events are in the pack that are not the grant's, the first is number %d", len(foreign), foreign[0])
	}
	if m.Size != p.size {
		bad("the list is of a log of %d events, the proofs are of %d", m.Size, p.size)
	}
	if whole {
		p.check(true, "the gateway signed that these %d events and documents are all that it had on grant %s at %s", len(have), m.Grant, m.Made.UTC().Format(time.RFC3339))
	}
}

// without is what of a sorted list is not in another.
func without(list, other []int64) (out []int64) {
	for _, n := range list {
		if _, ok := slices.BinarySearch(other, n); !ok {
			out = append(out, n)
		}
	}
	return out
}
