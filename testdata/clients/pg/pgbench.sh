#!/bin/bash
# pgbench in its three modes, and its own set-up.
. "$LIB/lib.sh"

trap 'psql -Xqc "drop table if exists pgbench_accounts, pgbench_branches, pgbench_history, pgbench_tellers" 2>/dev/null' EXIT
pgbench -i -q -s 1 2>init || { cat init >&2; exit 1; }
for mode in simple extended prepared; do
	pgbench -M $mode -c 4 -j 2 -t 50 >out 2>&1 || { cat out >&2; exit 1; }
	has "$mode" "$(cat out)" "number of transactions actually processed: 200/200"
done
pgbench -S -C -c 2 -t 10 >out 2>&1 || { cat out >&2; exit 1; }
has "a connection for each transaction" "$(cat out)" "20/20"
