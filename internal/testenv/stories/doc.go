// Package stories gives end-to-end scripts (testdata/script/*.txtar) the
// commands that they need beyond testscript's own:
//
//	stack [-no-hosts] [-no-database] [-objects MODE] [-rules FILE] [-user NAME:GROUP]…
//	        sets up a gateway; env then has $CONFIG, $ALICE, $BOB and $CAROL
//	        (their ssh_configs), $PGHOST, $PGPORT, $PGUSER, $PGDATABASE, …
//	        With -objects recordings go to an object store of its own, under
//	        Object Lock in that mode, or none.
//	objects stop|start
//	gateway stop|kill|start
//	grant VAR USER APPROVER TARGET DURATION
//	        a window from nothing, with stock ssh; VAR is the grant's id
//	ask VAR USER TARGET DURATION, approve USER REQUEST…, activate VAR USER REQUEST
//	token VAR USER TARGET
//	code VAR USER
//	        a TOTP code that nobody used yet
//	secret USER SECRET
//	        the TOTP secret of somebody who enrolled in the story itself
//	term NAME PROGRAM ARGS…
//	        starts a program in a terminal
//	[!] see NAME REGEXP, type NAME TEXT, typecode NAME USER, keys NAME TEXT
//	ends NAME STATUS
//	capture VAR REGEXP [NAME]
//	        the first group, in the last stdout or on a terminal
//	sql WANT QUERY
//	        asks PostgreSQL itself, until the answer is as wanted (10 s)
//	psql… is just `exec psql`.
//	flip GLOB
//	        turns one bit in the middle of a file
//	sqlite FILE STATEMENT
//	        changes the gateway's store behind its back
//	retry COMMAND…
//	        until it succeeds (10 s)
//
// Codes are never waited for more than needed: see package stack.
package stories
