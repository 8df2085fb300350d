// What an application on node-postgres does: parameters, types, transactions, errors, a pool.
// Takes the connection URL as its argument; prints one JSON object of what it saw.
'use strict'
const { Client, Pool } = require('pg')

async function main(url) {
  const seen = {}
  const client = new Client({ connectionString: url })
  await client.connect()
  try {
    await client.query('DROP TABLE IF EXISTS node_items')
    await client.query(
      'CREATE TABLE node_items (id int PRIMARY KEY, name text NOT NULL, price numeric(10,2), at timestamptz)',
    )
    const inserted = await client.query(
      'INSERT INTO node_items VALUES ($1, $2, $3, $4) RETURNING id, price',
      [1, 'naïve ☃', '12.50', new Date('2024-05-06T07:08:09.123Z')],
    )
    seen.inserted = { command: inserted.command, count: inserted.rowCount, rows: inserted.rows }
    const read = await client.query('SELECT * FROM node_items WHERE id = $1', [1])
    seen.row = { ...read.rows[0], at: read.rows[0].at.toISOString() }
    seen.types = read.fields.map((field) => field.dataTypeID)

    const named = { name: 'by-id', text: 'SELECT name FROM node_items WHERE id = $1' }
    seen.prepared = []
    for (const id of [1, 2]) {
      seen.prepared.push((await client.query({ ...named, values: [id] })).rows.length)
    }

    await client.query('BEGIN')
    await client.query("INSERT INTO node_items VALUES (2, 'two')")
    await client.query('ROLLBACK')
    seen.afterRollback = (await client.query('SELECT count(*)::int AS n FROM node_items')).rows[0].n

    seen.errors = []
    for (const text of [
      "INSERT INTO node_items VALUES (1, 'again')",
      'INSERT INTO node_items VALUES (3, NULL)',
      'SELECT * FROM nowhere',
      'SELEC 1',
      'SELECT 1/0',
    ]) {
      const error = await client.query(text).then(
        () => null,
        (reason) => reason,
      )
      seen.errors.push({ code: error.code, constraint: error.constraint, position: error.position })
    }

    await client.query('DROP TABLE IF EXISTS node_orders')
    await client.query('CREATE TABLE node_orders (id serial PRIMARY KEY, big bigserial, name text)')
    const numbered = await client.query(
      'INSERT INTO node_orders (name) SELECT unnest($1::text[]) RETURNING id, big',
      [['a', 'b', 'c']],
    )
    seen.numbered = numbered.rows
    const refused = await client
      .query('INSERT INTO node_orders (id, name) VALUES (2, $1)', ['taken'])
      .catch((error) => error.code)
    seen.taken = refused
    seen.next = (await client.query("INSERT INTO node_orders (name) VALUES ('d') RETURNING id")).rows
    await client.query('DROP TABLE node_orders')

    await client.query('BEGIN')
    await client.query('SELECT 1/0').catch(() => {})
    seen.failed = await client.query('SELECT 1').catch((error) => error.code)
    await client.query('ROLLBACK')
  } finally {
    await client.end()
  }

  const pool = new Pool({ connectionString: url, max: 3 })
  const answers = await Promise.all([1, 2, 3, 4, 5].map((n) => pool.query('SELECT $1::int AS n', [n])))
  seen.pool = answers.map((answer) => answer.rows[0].n)
  await pool.end()
  process.stdout.write(JSON.stringify(seen))
}

main(process.argv[2]).catch((error) => {
  process.stderr.write(`${error.stack}\n`)
  process.exit(1)
})
