// Package bench measures the gateway side by side with what a user would have
// instead: plain `ssh -J` through an OpenSSH jump host, pgbouncer in session
// mode, and no hop at all. `make bench-ssh` and `make bench-pg` call it.
//
// It drives stock clients (ssh, sftp, pgbench) over each path to one and the
// same server, in turn within every round, so that a ratio survives the drift
// of a shared machine; absolute figures do not. Sessions are recorded as a
// rule would have it by default. Everything listens on loopback, on free
// ports, and ends with the run. It refuses to invent: what failed, or what
// the time did not suffice for, is said below the table.
//
// Start reading at runner.go; ssh.go and pg.go set up the paths, the files
// beside them hold the cells.
package bench
