#!/bin/bash
# dropbear's dbclient, with its own way to hop.
. "$LIB/lib.sh"
export HOME=$PWD
mkdir -p .ssh && chmod 700 .ssh

dropbearconvert openssh dropbear "$JIT_KEY" key >/dev/null 2>&1
# -y notes new host keys at the first connection; later ones are compared.
DB="dbclient -y -i key $JIT_USER@$JIT_SSH_HOST/$JIT_SSH_PORT,deploy@web01"
same "exec" "$($DB 'id -un')" deploy
status "exit status" 7 $DB 'exit 7'
same "stdin" "$(printf 'a\nb\n' | $DB 'wc -l' | tr -d ' ')" 2
DB="dbclient -i key $JIT_USER@$JIT_SSH_HOST/$JIT_SSH_PORT,deploy@web01"
same "known host keys" "$($DB hostname </dev/null)" web01
head -c 5000000 /dev/urandom >data
same "bulk" "$($DB cat <data | sha256sum)" "$(sha256sum <data)"
