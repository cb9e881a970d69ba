// Package store holds the errors that every store returns and callers match.
// The stores themselves are sqlite and postgres beside it; the interfaces that
// they satisfy are declared by the packages that use them; storetest is the
// contract both are held to.
package store

import "errors"

var (
	// ErrNotFound: there is no such row.
	ErrNotFound = errors.New("not found")
	// ErrExists: a row with that unique value exists.
	ErrExists = errors.New("already exists")
	// ErrConflict: a conditional update lost, because the row changed meanwhile.
	ErrConflict = errors.New("changed meanwhile")
)
