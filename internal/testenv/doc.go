// Package testenv runs the real things that jit-gateway stands between: an
// OpenSSH sshd, a PostgreSQL server, a terminal. Tests, the demo and the
// client matrix use it; the gateway itself never imports it.
//
// Everything runs on loopback ports that were free a moment ago, out of
// directories of its own, and ends with the test. A fixture that was not
// stopped, because its parent was killed, ends with the parent
// (PR_SET_PDEATHSIG); only what the demo leaves running on purpose is Detached.
//
// Nothing is added to the machine. sshd gets its logins from Debian's
// libnss-wrapper, which answers getpwnam from a file of ours: as root, deploy
// and admin have uids of their own and sshd really switches to them; as an
// ordinary user both are that user under another name. PostgreSQL refuses to
// run as root, so there it runs as the postgres user of Debian's package.
//
// Start reading at SSHD and Postgres; PTY types at programs as a person would.
package testenv
