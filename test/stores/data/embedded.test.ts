import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import {
  cpSync,
  existsSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { connect } from '../../../stores/data/connect.ts'
import { openEmbedded } from '../../../stores/data/embedded/index.ts'
import { migrate } from '../../../stores/data/migrate.ts'
import { copyDatabase } from '../../helpers/embedded.ts'
import { newFolder } from '../../helpers/folder.ts'
import { migrations } from '../../helpers/migrations.ts'
import { until } from '../../helpers/server.ts'
import { inTier } from '../../helpers/tiers.ts'

const root = new URL('../../../', import.meta.url)
const dataDir = newFolder(t)
/** A copy of the folder while no process had it open. */
const closed = newFolder(t)

const open = (dataDir: string, { attach = false } = {}) =>
  connect({ dataDir, databaseUrl: undefined }, { attach })

const linksOf = async ({ sql }: Awaited<ReturnType<typeof open>>) => {
  const rows = await sql<{ id: string }[]>`select id from links order by id`
  return rows.map(({ id }) => id)
}

const query = (text: string) => message('Q', text)
const parse = (text: string) => message('P', '', text, '')
const startup = message('', '\0\x03\0\0user', 'postgres', '')

/** A folder with an embedded database: a copy, because it takes seconds to create one. */
function folder(t: Test) {
  const dataDir = newFolder(t)
  cpSync(closed, dataDir, { recursive: true })
  return dataDir
}

/** Runs code in a process of its own that has the database open as `sql`; resolves when it has come to the code's end. */
async function startProcess(t: Test, dataDir: string, { attach }: { attach: boolean }, code: string) {
  const script = join(newFolder(t), `${randomUUID()}.mjs`)
  writeFileSync(
    script,
    `import { connect } from '${new URL('stores/data/connect.ts', root)}'
    const config = { dataDir: ${JSON.stringify(dataDir)}, databaseUrl: undefined }
    const { sql } = await connect(config, { attach: ${attach} })
    ${code}
    console.log('done')
    setInterval(() => {}, 1000)`,
  )
  const child = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'inherit'] })
  const exit = once(child, 'exit')
  const kill = async () => {
    child.kill('SIGKILL')
    await exit
  }
  t.teardown(kill)
  await Promise.race([
    once(child.stdout, 'data'),
    exit.then(([code]) => Promise.reject(new Error(`it ended with ${code}`))),
  ])
  return { pid: child.pid!, kill }
}

/** What a process does that is killed in the middle of a transaction. */
const beginAndStay = `
  await new Promise((resolve) => {
    sql.begin(async (sql) => {
      await sql\`insert into links (id, expires_at) values ('uncommitted', now())\`
      resolve()
      await new Promise(() => {})
    })
  })`

inTier.default('a folder is open once, also if its path is too long for a socket', async (t) => {
  const dataDir = join(newFolder(t), 'ü'.repeat(100))
  await copyDatabase(dataDir)
  const first = await open(dataDir)
  await first.sql`drop schema public cascade`
  await first.sql`create schema public`
  const applied = await Promise.all([migrate(first.sql), migrate(first.sql)])
  t.strictSame(applied.flat(), migrations)
  await first.sql`insert into links (id, expires_at) values ('kept', now())`

  await t.rejects(open(dataDir), { name: 'DataDirInUse', message: /is in use by another/ })
  const attached = await open(dataDir, { attach: true })
  t.strictSame(await linksOf(attached), ['kept'])
  t.equal(linksTo(dataDir).length, 2, 'each has a short path to the socket')
  await attached.close()
  await first.close()
  t.equal(linksTo(dataDir).length, 0, 'nothing is left in the temporary folder')
  cpSync(dataDir, closed, { recursive: true })
})

/** The database of `dataDir`, which this process opens once for several tests. */
let holder: Awaited<ReturnType<typeof open>>
t.teardown(() => holder?.close())
t.beforeEach(async () => {
  if (holder) await holder.sql`delete from links where id <> 'kept'`
})

inTier.default(
  'a second process on a folder is refused with the process id of the first, which leaves its schema and all committed rows when it is killed',
  async (t) => {
    cpSync(closed, dataDir, { recursive: true })
    const first = await startProcess(
      t,
      dataDir,
      { attach: false },
      `for (let n = 0; n < 200; n++) {
         await sql\`insert into links (id, expires_at) values (\${'committed ' + n}, now())\`
       }
       ${beginAndStay}`,
    )
    const message = `DATA_DIR ${dataDir} is in use by another Hasty (process ${first.pid}).`
    await t.rejects(open(dataDir), { name: 'DataDirInUse', message })

    await first.kill()
    t.ok(statSync(join(dataDir, 'db.sock')), 'its socket is left')
    holder = await open(dataDir)
    t.strictSame(await migrate(holder.sql), [])
    const links = await linksOf(holder)
    t.equal(links.length, 201)
    t.ok(links.includes('kept'))
    t.notOk(links.includes('uncommitted'))
  },
)

inTier.default('concurrent connections get their own responses', async (t) => {
  const second = await open(dataDir, { attach: true })
  t.teardown(() => second.close())
  const answers = await Promise.all(
    Array.from({ length: 400 }, async (_, i) => {
      const { sql } = i % 2 ? holder : second
      // After a statement that fails, a session ignores messages until a Sync: also those of others, if they are mixed.
      if (i % 10 === 0) return sql`select ${i}::int / 0`.catch((error) => error.code)
      if (i % 10 === 1) return sql.begin(async (sql) => (await sql`select ${i}::int as i`)[0]!.i)
      return (await sql`select ${i}::int as i`)[0]!.i
    }),
  )
  t.strictSame(
    answers,
    answers.map((_, i) => (i % 10 === 0 ? '22012' : i)),
  )
})

inTier.default('a connection that is cut during a statement does not delay others', async (t) => {
  const { sql } = holder
  const attached = await openEmbedded(dataDir, { attach: true })
  t.teardown(() => attached.close())
  const fails = parse('insert into links (id, expires_at) values (1 / 0, now())')
  const bind = message('B', '', '', '\0\0\0\0\0')
  const begin = query('begin')
  for (const sent of [[], [fails], [fails, bind], [begin], [begin, fails], [parse('nonsense')]]) {
    for (const milliseconds of [0, 1, 20]) {
      const socket = createConnection(attached.path)
      await once(socket, 'connect')
      socket.write(Buffer.concat([startup, ...sent]))
      await sleep(milliseconds)
      const answer = sql`select 1 as one`
      socket.destroy()
      t.strictSame([...(await answer)], [{ one: 1 }], `${sent.length} messages, cut after ${milliseconds} ms`)
    }
  }
})

inTier.campaign(
  'a process that is killed while it creates the database does not prevent the next start',
  async (t) => {
    const dataDir = newFolder(t)
    const drafts = () => readdirSync(dataDir).filter((name) => name.startsWith('db.new'))
    const killed = startProcess(t, dataDir, { attach: false }, '')
    killed.catch(() => {})
    while (drafts().length === 0) await sleep(5)
    const holder = Number(readFileSync(join(dataDir, 'db.pid'), 'utf8'))
    const creator = readFileSync(`/proc/${holder}/task/${holder}/children`, 'utf8').trim()
    process.kill(holder, 'SIGKILL')
    await t.rejects(killed)
    await until(async () => hasEnded(creator) || undefined, 5_000)
    t.notOk(existsSync(join(dataDir, 'db')))

    const next = await open(dataDir)
    t.teardown(next.close)
    t.strictSame(await migrate(next.sql), migrations)
    t.strictSame(drafts(), [])
    t.equal(statSync(join(dataDir, 'db')).mode & 0o077, 0, 'other users cannot read it')
  },
)

inTier.default('a second process attaches, and sees and writes rows', async (t) => {
  const worker = await startProcess(
    t,
    dataDir,
    { attach: true },
    `const [{ count }] = await sql\`select count(*) from links\`
     await sql\`insert into links (id, expires_at) values (\${'saw ' + count}, now())\``,
  )
  t.strictSame(await linksOf(holder), ['kept', 'saw 1'])
  await worker.kill()
  t.strictSame(await linksOf(holder), ['kept', 'saw 1'])
})

inTier.default(
  'of several processes that start at the same time, one opens the folder, and the others attach while it starts',
  async (t) => {
    const dataDir = folder(t)
    rmSync(join(dataDir, 'db.pid'))
    const insert = `await sql\`insert into links (id, expires_at) values (\${String(process.pid)}, now())\``
    const starting = Promise.all(
      Array.from({ length: 2 }, () => startProcess(t, dataDir, { attach: true }, insert)),
    )
    while (!existsSync(join(dataDir, 'db.pid'))) await sleep(1)
    const attached = await open(dataDir, { attach: true })
    const processes = await starting
    t.strictSame(await linksOf(attached), [...processes.map(({ pid }) => `${pid}`).sort(), 'kept'])
    await attached.close()
  },
)

inTier.default('a process that is killed during a transaction does not delay others', async (t) => {
  const worker = await startProcess(t, dataDir, { attach: true }, beginAndStay)
  const waiting = linksOf(holder)
  t.equal(await Promise.race([waiting, sleep(200, 'it waits')]), 'it waits')
  await worker.kill()
  t.strictSame(await waiting, ['kept'])
  await holder.sql`insert into links (id, expires_at) values ('after', now())`
  t.strictSame(await linksOf(holder), ['after', 'kept'])
})

inTier.default('a connection that ends during a query does not delay others', async (t) => {
  const { path, close } = await openEmbedded(dataDir, { attach: true })
  t.teardown(close)
  const messages = {
    'before it is bound': [parse('select 1')],
    'after an error': [parse('select no_such_column')],
    'after an error in a transaction': [query('begin'), parse('select no_such_column')],
  }
  for (const [name, sent] of Object.entries(messages)) {
    const socket = createConnection(path)
    socket.write(startup)
    await once(socket, 'data')
    socket.write(Buffer.concat(sent))
    await sleep(100)
    const waiting = linksOf(holder)
    socket.destroy()
    t.strictSame(await waiting, ['kept'], name)
    t.strictSame([...(await holder.sql`select ${1}::integer as one`)], [{ one: 1 }], name)
  }
})

inTier.default('a database whose backend has ended is opened again, with all committed rows', async (t) => {
  const { path, close } = await openEmbedded(dataDir, { attach: true })
  t.teardown(close)
  await holder.sql`insert into links (id, expires_at) values ('before', now())`

  // Where it expects rows it finds an end, of which it ends itself: FATAL.
  const socket = createConnection(path)
  t.teardown(() => socket.destroy())
  socket.on('error', () => {})
  const [warning] = await Promise.all([
    once(process, 'warning'),
    socket.write(Buffer.concat([startup, query('copy links from stdin')])),
  ])
  t.match(
    warning[0].message,
    'The embedded database has ended (its thread ended with 1), and is opened again.',
  )

  const links = await until(() => linksOf(holder), 30_000)
  t.strictSame(links, ['before', 'kept'])
  await holder.sql`insert into links (id, expires_at) values ('after', now())`
  t.strictSame(await linksOf(holder), ['after', 'before', 'kept'])
})

inTier.default('queries of several connections and processes do not get mixed up', async (t) => {
  const work = `
    await Promise.all(Array.from({ length: 6 }, async (_, worker) => {
      for (let n = 0; n < 20; n++) {
        const mine = worker * 1000 + n
        if (worker % 2) {
          const rows = await sql.begin(async (sql) => sql\`select \${mine}::integer as number, 'in a transaction' as text\`)
          if (rows[0].number !== mine || !rows[0].text) throw new Error('wrong rows')
        } else {
          const rows = await sql\`select \${mine}::integer + g as number from generate_series(1, 3) as g\`
          if (rows.length !== 3 || rows[2].number !== mine + 3) throw new Error('wrong rows')
        }
        if (n % 10 === 0) {
          const error = await sql\`select 1 / \${0}::integer\`.catch((error) => error)
          if (error.code !== '22012') throw new Error('no error of its own')
        }
      }
    }))`
  const working = () => startProcess(t, dataDir, { attach: true }, work)
  await t.resolves(Promise.all([working(), working()]))
})

/** Whether a process has ended. Nobody may have read its exit code yet. */
function hasEnded(pid: string) {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ')
  } catch {
    return true
  }
}

/** The names of the links in the temporary folder that lead to a folder whose path is too long. */
function linksTo(dataDir: string) {
  return readdirSync(tmpdir()).filter((name) => {
    try {
      return readlinkSync(join(tmpdir(), name, 'd')) === dataDir
    } catch {
      return false
    }
  })
}

/** A message of PostgreSQL's protocol (https://www.postgresql.org/docs/current/protocol-message-formats.html). */
function message(type: string, ...fields: string[]) {
  const body = Buffer.from(fields.map((field) => `${field}\0`).join(''))
  const head = Buffer.alloc(4)
  head.writeInt32BE(4 + body.length)
  return Buffer.concat([Buffer.from(type), head, body])
}
