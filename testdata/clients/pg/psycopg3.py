#!/usr/bin/python3 -PWignore
"""psycopg 3: binary parameters, pipeline, COPY, notifications, async."""
import asyncio, threading
import psycopg

with psycopg.connect("", autocommit=True) as c:
    r = c.execute("select %b::int8 + 1, %s::text", (41, "text")).fetchone()
    assert r == (42, "text"), r
    cur = c.cursor(binary=True)
    assert cur.execute("select price, placed is not null from orders order by id limit 1").fetchone()[0] == 4.5
    for _ in range(8):  # the sixth turns into a prepared statement
        c.execute("select count(*) from orders where customer = %s", (1,)).fetchone()
    with c.pipeline():
        curs = [c.execute("select %s::int", (i,)) for i in range(100)]
    assert [x.fetchone()[0] for x in curs] == list(range(100))
    print("ok: binary, prepared, pipeline")
    c.execute("create temp table t (a int, b text)")
    with c.cursor().copy("copy t from stdin (format binary)") as copy:
        copy.set_types(["int4", "text"])
        for i in range(10000):
            copy.write_row((i, "x"))
    with c.cursor().copy("copy t to stdout") as copy:
        assert sum(1 for _ in copy.rows()) == 10000
    print("ok: binary COPY")
    threading.Timer(0.5, c.cancel).start()
    try:
        c.execute("select pg_sleep(20)")
        raise SystemExit("no cancel")
    except psycopg.errors.QueryCanceled:
        print("ok: cancel")


async def main():
    async with await psycopg.AsyncConnection.connect("", autocommit=True) as c:
        await c.execute("listen ch")
        async with await psycopg.AsyncConnection.connect("", autocommit=True) as other:
            await other.execute("notify ch, 'hello'")
        async for n in c.notifies():
            assert n.payload == "hello"
            break
        print("ok: async notification")

asyncio.run(asyncio.wait_for(main(), 20))
