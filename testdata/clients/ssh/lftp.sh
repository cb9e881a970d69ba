#!/bin/bash
# lftp over sftp: mirror up and down.
. "$LIB/lib.sh"
export HOME=$PWD

mkdir -p tree/sub && head -c 2000000 /dev/urandom >tree/sub/data && echo note >tree/note
$SSH web01 'rm -rf lftp-tree'
lftp -c "set sftp:connect-program 'ssh -a -x -F $JIT_SSH_CONFIG'; set net:max-retries 1; set net:timeout 15
open sftp://deploy@web01; mirror -R tree lftp-tree; mirror lftp-tree back; rm -r lftp-tree"
diff -r tree back
echo "ok: mirror up and down"
