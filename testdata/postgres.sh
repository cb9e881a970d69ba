#!/bin/bash
# postgres.sh: the tests of pgproxy against PostgreSQL 16 and 18, which Debian
# 12 does not have: 16 with a login that makes the session roles by its own
# CREATEROLE, 18 with the set-up's functions; psql and pgbench with the libpq of
# 18 (protocol 3.2, TLS without SSLRequest).
set -uo pipefail
cd "$(dirname "$0")/.."
pg16=$(testdata/tools/postgres.sh 16) && pg18=$(testdata/tools/postgres.sh 18) || exit 1
scratch=$(mktemp -d "${TMPDIR:-/tmp}/jit-postgres-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
GOFLAGS='' go test -tags sqlite_fts5,postgres16 -c -o "$scratch/pgproxy.test" ./proxy/pgproxy || exit 1

# run NAME BIN OTHERS HOW: pg_dump of version 15 refuses newer servers; OTHERS
# are the tests of the other way of making roles.
run() {
	(cd proxy/pgproxy && JIT_LIBPQ_18=${pg18%/bin}/lib JIT_POSTGRES_BIN=$2 timeout 300 "$scratch/pgproxy.test" -test.v \
		-test.skip "^(TestPgDumpAndRestore|$3)\$" >"$scratch/$1.log" 2>&1)
	rc=$?
	passed=$(grep -c '^--- PASS' "$scratch/$1.log") failed=$(grep -c '^--- FAIL' "$scratch/$1.log")
	[ $rc = 0 ] || { grep -B25 '^ *--- FAIL' "$scratch/$1.log" || tail -n 40 "$scratch/$1.log"; }
	echo "$("$2/postgres" --version), ${4:-roles made by the functions}: $passed passed, $failed failed"
	[ $rc = 0 ] && [ "$passed" -gt 40 ]
}
JIT_POSTGRES_CREATEROLE=1 run 16 "$pg16" 'TestCheck|TestG4GatewayLoginIsWeak|TestSetup.*' 'roles made by CREATEROLE' &
run 18 "$pg18" 'TestCheckCreaterole|TestG4CreateroleReachesNoFurther' && wait $!
