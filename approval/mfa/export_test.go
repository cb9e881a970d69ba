package mfa

// Box is the sealer, for tests that need a second verifier over the same store.
func (v *Verifier) Box() Sealer { return v.o.Box }

// ParseAnswer is for its fuzz target.
var ParseAnswer = parseAnswer
