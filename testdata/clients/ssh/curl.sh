#!/bin/bash
# curl with libssh2, through a local forward of the gateway: its inner
# connection signs with the user's key.
. "$LIB/lib.sh"
export HOME=$PWD

local=$(port)
background $SSH -N -o ExitOnForwardFailure=yes -L "$local:web01:22" jit-gateway
until_open "$local"
fingerprint=$(ssh-keyscan -p "$local" -t ed25519 127.0.0.1 2>/dev/null | ssh-keygen -lf - | cut -d' ' -f2)
CURL="curl -sS --hostpubsha256 ${fingerprint#SHA256:} --key $JIT_KEY --pubkey $JIT_KEY.pub"
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
