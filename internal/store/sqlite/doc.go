// Package sqlite is the default store: one SQLite file that needs nothing
// else.
//
// One connection writes and a pool reads. Every change is a function that runs
// on the writer inside a transaction and appends its audit event to the Merkle
// log there (guarantee G7): the row and the event are durable together or not
// at all. Changes that arrive while a commit waits for the disk share the next
// commit, each in its own savepoint, so that a thousand sessions which end at
// once cost a few fsyncs.
//
// Values are kept as JSON documents beside the columns that are searched or
// compared, so that what packages add to their types is kept without asking.
// Documents are written back whole, after checking that the part that must not
// change has not.
//
// Start reading at Open, then writer.go. The search index lies in a second
// file, see lines.go.
package sqlite
