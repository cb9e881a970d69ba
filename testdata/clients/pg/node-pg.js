#!/usr/bin/env node
// node-postgres: parameters, named statements, pool, cursor, error.
"use strict";
const fs = require("fs");
const { Client, Pool } = require("pg");
const Cursor = require("pg-cursor");
const assert = require("assert");

delete process.env.PGSSLMODE; // node-pg reads it in a way of its own
const ssl = { ca: fs.readFileSync(process.env.PGSSLROOTCERT, "utf8") };

(async () => {
  const client = new Client({ ssl });
  await client.connect();
  let r = await client.query("select item from orders where customer = $1 order by id", [2]);
  assert.deepStrictEqual(r.rows.map((x) => x.item), ["coffee, 1 kg", "cups"]);
  for (let i = 0; i < 3; i++) {
    r = await client.query({ name: "named", text: "select $1::int + 1 as n", values: [i] });
    assert.strictEqual(r.rows[0].n, i + 1);
  }
  console.log("ok: parameters and named statements");
  const cursor = client.query(new Cursor("select generate_series(1, 1000) as n"));
  assert.strictEqual((await cursor.read(300)).length, 300);
  await cursor.close();
  await assert.rejects(client.query("select 1/0"), { code: "22012" });
  await client.end();
  console.log("ok: cursor and error");
  const pool = new Pool({ ssl, max: 4 });
  const all = await Promise.all([...Array(40).keys()].map((i) => pool.query("select $1::int as n", [i])));
  assert.strictEqual(all.reduce((s, x) => s + x.rows[0].n, 0), 780);
  await pool.end();
  console.log("ok: pool of four");
})().catch((e) => {
  console.error(e);
  process.exit(1);
});
