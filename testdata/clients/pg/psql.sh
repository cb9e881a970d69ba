#!/bin/bash
# psql: simple queries, variables, COPY both ways, large objects, NOTIFY, errors, cancel.
. "$LIB/lib.sh"
P="psql -X -q -v ON_ERROR_STOP=1"

same "query" "$($P -Atc 'select count(*) from orders')" 6
has "verified TLS" "$($P -c '\conninfo')" "SSL connection"
has "describe" "$($P -c '\d orders')" "customers(id)"
same "error" "$(psql -XAt -v VERBOSITY=sqlstate -c 'select 1/0' 2>&1)" "ERROR:  22012"
echo 'select 1/0; select 2' >script
status "exit status" 3 $P -f script 2>/dev/null
$P -c 'drop table if exists clients_copy' -c 'create table clients_copy (a int, b text)' 2>/dev/null
seq 1 100000 | sed 's/$/\tline/' | $P -c '\copy clients_copy from stdin'
same "COPY in" "$($P -Atc 'select count(*), sum(a) from clients_copy')" "100000|5000050000"
same "COPY out" "$($P -c '\copy clients_copy to stdout' | sha256sum)" "$(seq 1 100000 | sed 's/$/\tline/' | sha256sum)"
head -c 2000000 /dev/urandom >object
oid=$(printf '\\lo_import object\n\\echo :LASTOID\n' | $P | tail -1)
printf '\\lo_export %s object2\n\\lo_unlink %s\n' "$oid" "$oid" | $P >/dev/null
cmp object object2
echo "ok: large object"
has "LISTEN and NOTIFY" "$($P -c 'listen clients' -c "notify clients, 'hi'" -c 'select 1')" 'Asynchronous notification "clients" with payload "hi"'
same "prepared by name" "$($P -Atc 'prepare p as select $1::int + $2::int' -c 'execute p(3,4)')" 7
$P -c 'drop table clients_copy'
# Ctrl-C: the running statement is cancelled, and soon.
start=$(date +%s)
timeout --foreground -s INT 2 psql -X -c 'select pg_sleep(30)' 2>err || true
has "cancel" "$(cat err)" "canceling statement due to user request"
[ $(($(date +%s) - start)) -lt 10 ] || { echo "the cancel took too long" >&2; exit 1; }
same "channel binding" "$(PGCHANNELBINDING=require psql -XAtc 'select 1')" 1
status "wrong token" 2 env PGPASSWORD=jit_pg_wrong psql -Xc 'select 1' 2>/dev/null
