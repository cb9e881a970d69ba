#!/bin/bash
# scp over SFTP (its default) and in its old protocol, files and folders.
. "$LIB/lib.sh"
SCP="scp -q -F $JIT_SSH_CONFIG"

mkdir -p tree/sub && head -c 3000000 /dev/urandom >tree/sub/data && echo hello >tree/note && : >tree/empty
for mode in "" -O; do
	$SSH web01 'rm -rf up note' 
	$SCP $mode tree/note web01:note
	same "one file up $mode" "$($SSH web01 cat note)" hello
	$SCP $mode -r -p tree web01:up
	rm -rf down && $SCP $mode -r -p web01:up down
	diff -r tree down
	echo "ok: folder up and down $mode"
	status "missing file $mode" 1 $SCP $mode web01:no-such-file . 2>/dev/null
done
$SCP -3 web01:note web02:note-from-web01
same "between hosts" "$($SSH web02 cat note-from-web01)" hello
