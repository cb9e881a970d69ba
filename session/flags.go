package session

import "slices"

// Flags of a session, for lists and filters: what somebody who reviews would
// want to look at first.
const (
	FlagBreakGlass       = "break-glass"       // under an emergency grant
	FlagDenied           = "denied"            // something in it was refused by a rule
	FlagWatched          = "watched"           // somebody watched it live
	FlagEncrypted        = "encrypted"         // its recording can be read with an auditor's key alone
	FlagTrouble          = "trouble"           // its end did not go as it should
	FlagHeld             = "held"              // a legal hold is on its recording; the store keeps it so
	FlagRecordingDeleted = "recording-deleted" // likewise
)

// Flags lists them all.
var Flags = []string{FlagBreakGlass, FlagDenied, FlagWatched, FlagEncrypted, FlagTrouble, FlagHeld, FlagRecordingDeleted}

// Flag marks the session; its row carries the flag from its end on.
func (s *Session) Flag(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.flags, name) {
		s.flags = append(s.flags, name)
	}
}
