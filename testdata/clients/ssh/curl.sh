#!/bin/bash
# curl with libssh2, through a local forward of the gateway: its inner
# connection signs with the user's key.
. "$LIB/lib.sh"
export HOME=$PWD

local=$(port)
background $SSH -N -o ExitOnForwardFailure=yes -L "$local:web01:22" jit-gateway
until_open "$local"
# curl takes ~/.ssh/known_hosts from its home, and refuses a host that is not there.
mkdir .ssh && ssh-keyscan -p "$local" -t ed25519,ecdsa 127.0.0.1 >.ssh/known_hosts 2>/dev/null
CURL="curl -sS --key $JIT_KEY --pubkey $JIT_KEY.pub"
head -c 3000000 /dev/urandom >data
$CURL -T data "sftp://deploy@127.0.0.1:$local/~/curl.bin"
$CURL -o back "sftp://deploy@127.0.0.1:$local/~/curl.bin"
cmp data back
echo "ok: sftp up and down"
has "listing" "$($CURL "sftp://deploy@127.0.0.1:$local/~/")" curl.bin
$CURL -o back2 "scp://deploy@127.0.0.1:$local/~/curl.bin"
cmp data back2
echo "ok: scp down"
$CURL -Q 'rm curl.bin' "sftp://deploy@127.0.0.1:$local/~/" >/dev/null || true
