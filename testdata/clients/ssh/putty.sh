#!/bin/bash
# PuTTY's plink and psftp, with plink as the proxy to the gateway.
. "$LIB/lib.sh"
export HOME=$PWD

puttygen "$JIT_KEY" -O private -o key.ppk --new-passphrase /dev/null
# PuTTY pins keys by fingerprint on the command line.
gateway=$(ssh-keyscan -p "$JIT_SSH_PORT" -t ed25519 "$JIT_SSH_HOST" 2>/dev/null | ssh-keygen -lf - | cut -d' ' -f2)
proxy="plink -batch -P $JIT_SSH_PORT -hostkey $gateway -i key.ppk -nc %host:%port $JIT_USER@$JIT_SSH_HOST"
web01=$(plink -batch -proxycmd "$proxy" -i key.ppk deploy@web01 true 2>&1 | grep -o 'SHA256:[A-Za-z0-9+/]*' | head -1) || true
[ -n "$web01" ] || { echo "plink did not show web01's fingerprint" >&2; exit 1; }
PLINK="plink -batch -proxycmd"

same "plink exec" "$($PLINK "$proxy" -hostkey "$web01" -i key.ppk deploy@web01 'id -un')" deploy
status "plink exit status" 7 plink -batch -proxycmd "$proxy" -hostkey "$web01" -i key.ppk deploy@web01 'exit 7'
same "plink stdin" "$(echo hello | $PLINK "$proxy" -hostkey "$web01" -i key.ppk deploy@web01 cat)" hello
has "plink terminal" "$($PLINK "$proxy" -hostkey "$web01" -i key.ppk -t deploy@web01 tty </dev/null)" /dev/pts/

head -c 2000000 /dev/urandom >data
printf 'put data psftp.bin\nget psftp.bin back\ndel psftp.bin\nquit\n' >batch
psftp -batch -b batch -proxycmd "$proxy" -hostkey "$web01" -i key.ppk deploy@web01
cmp data back
echo "ok: psftp"
