package store

// Spent is what was used of a budget.
type Spent struct {
	Rows       int64
	Bytes      int64
	Statements int64
}
