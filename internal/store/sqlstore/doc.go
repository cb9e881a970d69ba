// Package sqlstore is what both stores share: every method that a gateway
// calls, written once in SQL that SQLite and PostgreSQL both speak, and the
// writer that puts each change and its audit event into one transaction
// (guarantee G7). Packages sqlite and postgres beside it open a database, keep
// its migrations, and say in a Dialect where theirs differs; full-text search,
// which has nothing in common, is theirs alone.
//
// One goroutine writes. Changes that arrive while a commit waits for the disk
// share the next one, each in its own savepoint, so that a thousand sessions
// which end at once cost a few fsyncs. Where several gateways write to one
// database, each group first takes the log's lock, so that there is one tree;
// whatever a change reads and then writes is therefore one act on every
// gateway at once.
//
// Values are kept as JSON documents beside the columns that are searched or
// compared, so that what packages add to their types is kept without asking.
// Documents are written back whole, after checking that the part that must not
// change has not.
//
// SQL here: placeholders are "?"; no scalar max or min (CASE does it);
// "rowid" breaks ties of order, and tables of PostgreSQL that need it have a
// column of that name; columns of ON CONFLICT … DO UPDATE are qualified.
//
// Start reading at New, then writer.go.
package sqlstore
