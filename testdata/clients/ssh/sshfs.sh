#!/bin/bash
# sshfs: a mounted home, in a mount namespace of its own when we are root.
. "$LIB/lib.sh"
if [ "$(id -u)" = 0 ] && [ -z "${JIT_UNSHARED:-}" ]; then
	JIT_UNSHARED=1 exec unshare -m --propagation private "$0"
fi
mkdir mnt
sshfs -F "$JIT_SSH_CONFIG" -o reconnect web01: mnt
trap 'fusermount3 -u mnt' EXIT
mkdir -p mnt/sshfs-dir
head -c 2000000 /dev/urandom >data
cp data mnt/sshfs-dir/data
cmp data mnt/sshfs-dir/data
mv mnt/sshfs-dir/data mnt/sshfs-dir/moved
same "seen on the host" "$($SSH web01 'ls sshfs-dir')" moved
rm -r mnt/sshfs-dir
echo "ok: written, read, renamed, removed"
