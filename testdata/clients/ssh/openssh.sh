#!/bin/bash
# OpenSSH's ssh: exec, streams, exit status, terminal, half-close, bulk data.
. "$LIB/lib.sh"

same "exec" "$($SSH web01 'whoami; hostname')" "$(printf 'deploy\nweb01')"
status "exit status" 7 $SSH web01 'exit 7'
$SSH web01 'echo out; echo err >&2' >out 2>err
same "stdout apart" "$(cat out)" out
has "stderr apart" "$(cat err)" err
same "stdin, half-close" "$(printf 'a\nb\n' | $SSH web01 'wc -l; echo done' | tr -d ' ')" "$(printf '2\ndone')"
same "no stdin" "$($SSH -n web01 'cat; echo done')" done
same "BatchMode and ConnectTimeout" "$($SSH -o BatchMode=yes -o ConnectTimeout=10 -o StrictHostKeyChecking=yes web01 id -un)" deploy
same "environment" "$(LC_TEST=works $SSH -o SendEnv=LC_TEST web01 'echo $LC_TEST')" works
has "terminal" "$($SSH -tt web01 tty </dev/null)" /dev/pts/
status "signal" 255 $SSH web01 'kill -TERM $$'
head -c 50000000 /dev/urandom >big
same "50 MB up and down" "$($SSH web01 'cat' <big | sha256sum)" "$(sha256sum <big)"
same "rekeying in bulk data" "$($SSH -o RekeyLimit=1M web01 'cat' <big | sha256sum)" "$(sha256sum <big)"
same "keepalives" "$($SSH -o ServerAliveInterval=1 web01 'sleep 3; echo alive')" alive
same "spelled-out -J" "$($SSH -J jit-gateway deploy@web01 id -un)" deploy
same "two hosts" "$($SSH web02 hostname)" web02
