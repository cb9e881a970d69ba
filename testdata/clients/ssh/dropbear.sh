#!/bin/bash
# dropbear's dbclient, with its own way to hop.
. "$LIB/lib.sh"
export HOME=$PWD
mkdir -p .ssh && chmod 700 .ssh

dropbearconvert openssh dropbear "$JIT_KEY" key >/dev/null 2>&1
# -y notes new host keys at the first connection; later ones are compared.
# It knows no certificates, so it needs the plain host keys, by bare name.
local=$(port)
background $SSH -N -o ExitOnForwardFailure=yes -L "$local:web01:22" jit-gateway
until_open "$local"
keyscan() { ssh-keyscan -t ed25519 -p "$1" "$2" 2>/dev/null | cut -d' ' -f2-; }
echo "$JIT_SSH_HOST $(keyscan "$JIT_SSH_PORT" "$JIT_SSH_HOST")" >.ssh/known_hosts
echo "web01 $(keyscan "$local" 127.0.0.1)" >>.ssh/known_hosts
# A full path: it starts itself again for the first hop.
DB="/usr/bin/dbclient -i key $JIT_USER@$JIT_SSH_HOST/$JIT_SSH_PORT,deploy@web01"
same "exec" "$($DB 'id -un')" deploy
status "exit status" 7 $DB 'exit 7'
same "stdin" "$(printf 'a\nb\n' | $DB 'wc -l' | tr -d ' ')" 2
same "no stdin" "$($DB hostname </dev/null)" web01
head -c 5000000 /dev/urandom >data
same "bulk" "$($DB cat <data | sha256sum)" "$(sha256sum <data)"
