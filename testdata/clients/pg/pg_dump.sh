#!/bin/bash
# pg_dump and pg_restore, plain, custom and in parallel.
. "$LIB/lib.sh"

pg_dump >whole.sql
has "the whole database, as it is" "$(cat whole.sql)" "Hafen Books"

tables="-t customers -t orders"
pg_dump $tables >plain.sql
has "plain" "$(cat plain.sql)" "Hafen Books"
pg_dump -Fc $tables -f custom
pg_restore -l custom | grep -q 'TABLE DATA public orders'
echo "ok: custom format"
pg_dump -Fd -j 2 $tables -f dir
[ -s dir/toc.dat ] && echo "ok: directory format, two jobs"
psql -Xq -v ON_ERROR_STOP=1 -c 'create table restored_customers (like customers)'
pg_dump -a -t customers | sed 's/public\.customers/public.restored_customers/' | psql -Xq -v ON_ERROR_STOP=1
same "restored" "$(psql -XAtc 'select count(*) from restored_customers')" 3
psql -Xqc 'drop table restored_customers'
