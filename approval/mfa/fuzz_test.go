package mfa_test

import (
	"strings"
	"testing"

	"jit-gateway/approval/mfa"
)

// Evidence comes from files that others hand in: nothing that a fuzzer makes
// is accepted, and nothing makes it panic.
func FuzzVerifyEvidence(f *testing.F) {
	for _, s := range []string{
		``, `{}`, `{"public_key":"pQECAyYgASFYIA","client_data":"e30","authenticator_data":"AAAA","signature":"AA"}`,
		`{"client_data":"eyJ0eXBlIjoid2ViYXV0aG4uZ2V0IiwiY2hhbGxlbmdlIjoiQUEifQ"}`, `{"public_key":"!"}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if mfa.VerifyEvidence(s, strings.Repeat("00", 32), rpID) == nil {
			t.Errorf("%q was accepted", s)
		}
	})
}
