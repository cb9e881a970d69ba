// Package pgproxy terminates the PostgreSQL protocol: to the client it is the
// server, to the database it is one client per session.
//
// A connection starts with whatever a client may begin with (SSLRequest,
// GSSENCRequest, direct TLS, CancelRequest), then exactly one StartupMessage.
// The user proves a session token by SCRAM-SHA-256(-PLUS), or is known
// already where the connection arrived through an SSH tunnel. After admission
// the gateway dials the database, verifies it, and only then makes the role or
// certificate that it logs in with (guarantee G1). The relay forwards chunks
// whole; it reads message headers, and the contents of the few messages that
// the record, the budget and the cancel key need. What a statement says is
// handed to the recorder before the statement is forwarded (G2). At the end
// the running statement is cancelled, the role disabled, its backends
// terminated, the role dropped, and all of that checked (G3, G4).
//
// It refuses replication connections, a second StartupMessage, bytes that
// were sent before TLS, statements past a budget, and everything that does
// not parse. A panic ends its session, never the process.
//
// Start reading at Server.ServeConn; then greet.go, serve.go and session.go (the
// steps of docs/session-flow.md), link.go and pump.go (the relay), tracker.go
// with its halves client.go and server.go (the record), cleaner.go (the end).
package pgproxy
