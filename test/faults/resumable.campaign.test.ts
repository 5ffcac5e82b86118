import { randomBytes, randomInt } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { newFolder } from '../helpers/folder.ts'
import { makeImage } from '../helpers/images.ts'
import { sha256 } from '../helpers/lifecycle.ts'
import { startPostgres } from '../helpers/postgres.ts'
import { begin, offsetOf, patch, send } from '../helpers/resumable-sockets.ts'
import { runToEnd, type Server, startServer } from '../helpers/server.ts'

// The embedded database belongs to one server, which has to start before the next kill. With PostgreSQL, another server
// takes over at once while the killed one starts again.
const EMBEDDED = { kills: 10, servers: 1 }
const POSTGRES = { kills: 90, servers: 2 }
const UPLOADS = 3
const BYTES = 20_000_000
const MINUTE = 60_000

t.setTimeout(10 * MINUTE)
t.jobs = 2
const postgres = startPostgres(t)
t.test(
  `on the embedded database, ${EMBEDDED.kills} kills in the middle of ${UPLOADS} PATCHes lose no acknowledged byte`,
  { timeout: 10 * MINUTE, buffered: true },
  (t) => killServers(t, EMBEDDED, {}),
)
t.test(
  `with two servers on PostgreSQL, ${POSTGRES.kills} kills in the middle of ${UPLOADS} PATCHes lose no acknowledged byte`,
  { skip: postgres.missing, timeout: 10 * MINUTE, buffered: true },
  async (t) => killServers(t, POSTGRES, { DATABASE_URL: await postgres.createDatabase() }),
)

interface Upload {
  path: string
  bytes: Buffer
  /** The offset that the service has acknowledged. */
  known: number
}

async function killServers(
  t: Test,
  { kills, servers: count }: { kills: number; servers: number },
  database: Record<string, string>,
) {
  const DATA_DIR = newFolder(t)
  const env = { DATA_DIR, WORKER_PROCESSES: '0', MAX_FILE_SIZE: '200MiB', ...database }
  const servers: Promise<Server>[] = []
  for (let n = 0; n < count; n++) {
    servers.push(startServer(t, env))
    await servers[n]
  }
  const link = new URL(await (await servers[0]!).makeLink()).pathname
  const start = async ({ url }: Server): Promise<Upload> => {
    const bytes = Buffer.concat([await makeImage(), padding])
    return { path: new URL(await begin(url + link, bytes.length)).pathname, bytes, known: 0 }
  }
  const padding = randomBytes(BYTES)
  const uploads: Upload[] = []
  for (let n = 0; n < UPLOADS; n++) uploads.push(await start(await servers[0]!))
  let finished = 0
  let middle = 0

  for (let kill = 0; kill < kills; kill++) {
    const n = kill % count
    const server = await servers[n]!
    const patching = uploads.map((upload) => appendTwice(server, upload))
    await sleep(randomInt(20, 250))
    await server.end('SIGKILL', { group: true })
    middle += (await Promise.all(patching)).filter((isAnswered) => !isAnswered).length
    servers[n] = startServer(t, env)
    servers[n].catch(() => {})
    const next = await servers[(n + 1) % count]!
    for (const [index, upload] of uploads.entries()) {
      const offset = await offsetOf(next.url + upload.path)
      if (offset < upload.known) t.fail(`the offset moved back from ${upload.known} to ${offset}`)
      upload.known = offset
      if (offset < upload.bytes.length) continue
      const result = JSON.parse((await send(next.url + upload.path, 'GET'))!.body)
      t.equal(result.processed[0]?.hash, sha256(upload.bytes))
      finished++
      uploads[index] = await start(next)
    }
  }

  const [last] = await Promise.all(servers)
  for (const { path, bytes, known } of uploads) {
    const answer = await patch(last!.url + path, known, bytes.subarray(known))
    const { hash, id } = JSON.parse(answer!.body).processed?.[0] ?? {}
    t.equal(hash, sha256(bytes), answer!.body.slice(0, 200))
    const stored = await fetch(`${last!.url}/images/${id}`)
    t.equal(sha256(Buffer.from(await stored.arrayBuffer())), sha256(bytes))
  }
  t.comment(`${middle} requests were cut, ${finished + uploads.length} uploads were completed`)
  t.ok(middle > kills / 2, `${middle} requests were cut in the middle`)
  for (const server of servers) await (await server).end('SIGTERM')

  await sleep(1_100)
  t.equal(await runToEnd('sweep.ts', { ...env, ACCESS_TOKEN: 'x'.repeat(30), SWEEP_GRACE: 'PT1S' }), 0)
  t.strictSame(await readdir(join(DATA_DIR, 'objects', 'incoming')), [], 'the sweep leaves nothing')
}

/** Appends a piece, which is acknowledged, and then the rest. Resolves with whether the last request was answered. */
async function appendTwice({ url }: Server, upload: Upload): Promise<boolean> {
  const end = Math.min(upload.known + randomInt(1, 1_000_000), upload.bytes.length)
  const answer = await patch(url + upload.path, upload.known, upload.bytes.subarray(upload.known, end))
  if (!answer || answer.status >= 300) return false
  upload.known = end
  if (end === upload.bytes.length) return true
  return (await patch(url + upload.path, end, upload.bytes.subarray(end))) !== undefined
}
