#!/usr/bin/python3 -PWignore
"""psycopg 2: parameters, COPY, server-side cursor, notices, cancel."""
import io, threading
import psycopg2, psycopg2.errors, psycopg2.extensions

c = psycopg2.connect("")
c.autocommit = True
cur = c.cursor()
cur.execute("select item from orders where quantity > %s and shipped = %s order by id", (20, True))
assert cur.fetchall() == [("paper, 500 sheets",), ("coffee, 1 kg",)]
cur.execute("create temp table t (a int, b text)")
cur.copy_expert("copy t from stdin", io.StringIO("".join(f"{i}\tx\n" for i in range(10000))))
cur.execute("select count(*) from t")
assert cur.fetchone() == (10000,)
print("ok: parameters and COPY")
c.autocommit = False
named = c.cursor("big")
named.itersize = 500
named.execute("select generate_series(1, 5000)")
assert sum(r[0] for r in named) == 12502500
c.rollback()
print("ok: server-side cursor")
c.autocommit = True
cur.execute("do $$ begin raise notice 'noted'; end $$")
assert "noted" in c.notices[-1]
try:
    cur.execute("select 1/0")
    raise SystemExit("no error")
except psycopg2.errors.DivisionByZero as e:
    assert e.pgcode == "22012"
threading.Timer(0.5, c.cancel).start()
try:
    cur.execute("select pg_sleep(20)")
    raise SystemExit("no cancel")
except psycopg2.extensions.QueryCanceledError:
    print("ok: error, notice, cancel")
