#!/bin/bash
# rsync both ways, changed parts, deletions.
. "$LIB/lib.sh"
RSYNC="rsync -a -e"

mkdir -p tree/sub && head -c 4000000 /dev/urandom >tree/sub/data && seq 20000 >tree/numbers
$RSYNC "$SSH" --delete tree/ web01:rsync-tree/
$RSYNC "$SSH" web01:rsync-tree/ back/
diff -r tree back
echo "ok: up and down"
sed -i 's/^777$/changed/' tree/numbers && rm tree/sub/data && echo new >tree/new
$RSYNC "$SSH" --delete --no-whole-file -z tree/ web01:rsync-tree/
rm -rf back && $RSYNC "$SSH" web01:rsync-tree/ back/
diff -r tree back
echo "ok: changes and deletions"
