#!/usr/bin/python3 -PWignore
"""asyncpg: binary protocol, pool, COPY, cursor, transaction, cancel."""
import asyncio, os, ssl
import asyncpg


async def main():
    ctx = ssl.create_default_context(cafile=os.environ["PGSSLROOTCERT"])
    async with asyncpg.create_pool(ssl=ctx, min_size=2, max_size=4) as pool:
        rows = await pool.fetch("select id, price, placed, shipped from orders where customer = $1 order by id", 2)
        assert len(rows) == 2 and float(rows[0]["price"]) == 13.4
        assert sorted(await asyncio.gather(*(pool.fetchval("select $1::int", i) for i in range(40)))) == list(range(40))
        print("ok: pool of four")
        async with pool.acquire() as c:
            await c.execute("create temp table t (a int, b text)")
            await c.copy_records_to_table("t", records=[(i, "x") for i in range(10000)])
            assert await c.fetchval("select count(*) from t") == 10000
            async with c.transaction():
                assert [r[0] async for r in c.cursor("select generate_series(1, 300)")] == list(range(1, 301))
            await c.executemany("insert into t values ($1, $2)", [(i, "y") for i in range(500)])
            try:
                await c.execute("select 1/0")
                raise SystemExit("no error")
            except asyncpg.DivisionByZeroError:
                pass
            try:
                await asyncio.wait_for(c.fetch("select pg_sleep(20)"), 0.5)
                raise SystemExit("no cancel")
            except asyncio.TimeoutError:
                pass
            assert await c.fetchval("select 1") == 1
            print("ok: COPY, cursor, executemany, error, cancel")

asyncio.run(asyncio.wait_for(main(), 40))
