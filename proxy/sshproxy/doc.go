// Package sshproxy terminates SSH twice: the outer connection, on which a
// registered key says who the user is, and one inner connection for each
// target that they open through it, the way `ssh -J gateway login@target`
// does. The inner one ends here too; a second SSH connection, with a key and
// a certificate made for that session alone, goes to the target.
//
// The outer connection offers two things. Session channels run the command
// interface (Options.Commands). direct-tcpip channels name a target: an SSH
// host gets an inner connection, a database goes to Options.Tunnel, anything
// else is refused.
//
// What passes on an inner connection is decided per channel and request by
// the rule of the admission (guarantee G10), handed to the recorder before it
// is forwarded (G2), and ends when the session's context does (G3).
//
// Start reading at Server.ServeConn, then inner.go (the steps of
// docs/session-flow.md from 3 on), then link.go and side.go.
package sshproxy
