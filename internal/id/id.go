// Package id makes identifiers that people can read out over a phone: a
// letter for the kind, then Crockford base32 without I, L, O and U.
//
// Identifiers are random, never derived from time or counters, so that
// knowing one says nothing of the next. They are names, not secrets.
// Uniqueness is the store's to enforce; callers retry on a collision.
package id

import (
	"crypto/rand"
	"encoding/base32"
)

const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

var encoding = base32.NewEncoding(alphabet).WithPadding(base32.NoPadding)

// Kinds of identifier: the letter that each begins with.
const (
	Request = "R"
	Grant   = "G"
	Session = "S"
	User    = "U"
	Event   = "E"
	Invite  = "V"
)

// Short returns kind followed by n random characters (5 bits each).
func Short(kind string, n int) string {
	raw := make([]byte, (n*5+7)/8)
	rand.Read(raw) // never fails since Go 1.24
	return kind + encoding.EncodeToString(raw)[:n]
}

// New returns an identifier of the kind with 80 random bits: unique without
// asking anyone.
func New(kind string) string { return Short(kind, 16) }
