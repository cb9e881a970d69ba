// Package proxy is what every protocol handler shares: the accept loop with
// its limits and its drain (Serve, step 1 of docs/session-flow.md), connections
// that read ahead and coalesce writes (Buffered), pooled buffers that fit the
// traffic (Copy), and the containment of panics (Contain).
//
// It refuses connections beyond its limits, a PROXY header from anyone but a
// listed balancer, and a listed balancer without one. It knows no protocol and
// decides nothing about access.
//
// # To add a protocol
//
//  1. Make proxy/fooproxy with a type Server and New(Options): Options take
//     *session.Manager, the dialogue, the inventory, and whatever else it
//     needs, by field. Refuse missing ones in New.
//  2. For connections that arrive on a listener of its own, write
//     ServeConn(ctx, net.Conn) and give it to Serve as Handle. Close it when
//     nobody has authenticated in time. Steps 2 to 5 find the user, the target
//     and the admission; until then, answer unknown and forbidden alike.
//  3. For connections inside another handler's (tunnels, nested hops), write
//     Handler.Serve: the user is known already. Share everything after step 3.
//  4. Begin the session (step 6) before dialling, Finish it in a defer. Between
//     the two: Attach both transports, Intend and Minted around everything that
//     is minted, Count every chunk, Busy while work runs without traffic, and
//     hand every chunk to Recorder before it is forwarded. When
//     Session.Context is done, tell the user its cause, cancel upstream work,
//     close both transports and wait for every goroutine; then Finish.
//  5. For a kind of credential of its own, write a session.Cleaner: it runs at
//     the end, and after a crash on another gateway, with nothing but the row.
//  6. Give inventory a Kind and its definition, and cmd/jit-gateway/wire.go one
//     line that maps the kind to the handler. There is no registry.
//  7. Fuzz each decoder, give the relay a benchmark with recording on, and add
//     the stock clients to the matrix of make test-clients.
package proxy
