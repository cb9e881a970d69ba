package session

import "time"

// tombstones are users that were disabled and keys that were removed a moment
// ago: a session whose admission was decided before, and that begins after the
// feed told of it, must not slip through between.
type tombstones map[string]time.Duration // to the boot time of the event

// tombstoneLife is longer than an admission takes from decision to Begin.
const tombstoneLife = 10 * time.Minute

const (
	tombUser   = "user "
	tombKey    = "key "
	tombNoKeys = "keys of " // some key of the user: the event did not say which
)

func (t tombstones) add(what string, boot time.Duration) {
	for k, at := range t { // rare, and short
		if boot-at > tombstoneLife {
			delete(t, k)
		}
	}
	t[what] = boot
}

func (t tombstones) match(s *Session, boot time.Duration) (why string) {
	young := func(what string) bool {
		at, ok := t[what]
		return ok && boot-at <= tombstoneLife
	}
	switch key := s.adm.KeyFingerprint(); {
	case young(tombUser + s.row.UserID):
		return "your account is disabled"
	case key != "" && (young(tombKey+key) || young(tombNoKeys+s.row.UserID)):
		return "your key was removed"
	}
	return ""
}
