// Package postgres is the store that several gateways share: a PostgreSQL
// database (15 or later).
//
// What the store does is in package sqlstore. Here is how the database is
// reached, and what is PostgreSQL's alone: its migrations, the full-text
// index, locks that a gateway holds among its peers, and how gateways wake
// each other.
//
// Every change begins by taking the advisory lock of the log, so all gateways'
// changes are serial and the log stays one tree; READ COMMITTED is then enough
// (docs/decisions/0071). NOTIFY tells the other gateways at each commit, and
// each of them also looks every second, in case it was not told.
//
// Trouble is bounded and fails closed: a connection that is lost is made again,
// a COMMIT that nobody answered is looked up, a statement or a silent network
// has five seconds, and a server that has forgotten what it acknowledged stops
// the gateway (sqlstore.ErrLost).
//
// Start reading at Open.
package postgres
