#!/bin/bash
# OpenSSH's sftp in batch mode: every operation that people use.
. "$LIB/lib.sh"

head -c 5000000 /dev/urandom >data
$SSH web01 'rm -rf sftp-dir'
cat >batch <<'B'
mkdir sftp-dir
cd sftp-dir
put data data
get data back
rename data moved
chmod 600 moved
ln -s moved link
ls -la
symlink moved other
rm link
df
B
sftp -q -F "$JIT_SSH_CONFIG" -b batch web01 >listing
cmp data back
has "listing" "$(cat listing)" moved
same "mode and rename" "$($SSH web01 'stat -c %a sftp-dir/moved')" 600
$SSH web01 'truncate -s 1000000 sftp-dir/moved'
printf 'reput data sftp-dir/moved\n' | sftp -q -F "$JIT_SSH_CONFIG" -b - web01 >/dev/null
same "resumed upload" "$($SSH web01 'sha256sum <sftp-dir/moved')" "$(sha256sum <data)"
status "missing file" 1 sftp -q -F "$JIT_SSH_CONFIG" -b - web01 <<<'get no-such-file' 2>/dev/null
