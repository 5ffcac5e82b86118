import { spawnSync } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { mkdtempSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { startFaultyProxy } from '../helpers/faulty-proxy.ts'
import { newFolder } from '../helpers/folder.ts'
import { makePadded } from '../helpers/images.ts'
import { sha256 } from '../helpers/lifecycle.ts'
import { findLoopDevices, makeDisk } from '../helpers/loop-disk.ts'
import { startPostgres } from '../helpers/postgres.ts'
import { begin, offsetOf, patch, send } from '../helpers/resumable-sockets.ts'
import { startS3, withoutS3 } from '../helpers/s3.ts'
import { startServer } from '../helpers/server.ts'

const MiB = 2 ** 20
const postgres = startPostgres(t)
const missing = [postgres.missing, withoutS3()].filter(Boolean).join(', ') || false
const hashOf = (body: string | undefined) => JSON.parse(body ?? '{}').processed?.[0]?.hash

t.test('three processes with PostgreSQL and S3', { skip: missing, timeout: 180_000 }, async (t) => {
  const s3 = await startS3(t)
  const bucket = await s3.createBucket('resumable')
  const proxy = await startFaultyProxy(t, s3.endpoint)
  const env = {
    DATABASE_URL: await postgres.createDatabase(),
    OBJECT_STORE_URL: s3.url(bucket, { through: proxy.url }).href,
    DATA_DIR: newFolder(t),
    WORKER_PROCESSES: '0',
    MAX_FILE_SIZE: '200MiB',
  }
  const servers = await Promise.all([startServer(t, env), startServer(t, env), startServer(t, env)])
  const path = new URL(await servers[0]!.makeLink()).pathname
  const at = (n: number, upload: string) => servers[n % 3]!.url + upload
  const start = async (length: number) => new URL(await begin(servers[0]!.url + path, length)).pathname

  await t.test('receive the pieces of an upload in turn', async (t) => {
    for (const [size, piece] of [
      [30 * MiB, 5 * MiB],
      [20 * MiB, 8 * MiB],
      [3 * MiB, 300_000],
    ] as const) {
      const bytes = await makePadded(size)
      const upload = await start(bytes.length)
      let last: Awaited<ReturnType<typeof patch>>
      for (let offset = 0, n = 0; offset < bytes.length; offset += piece, n++) {
        last = await patch(at(n, upload), offset, bytes.subarray(offset, offset + piece))
        t.ok(
          last && last.status < 300,
          `${last?.status} ${last?.status === 204 ? '' : last?.body.slice(0, 100)}`,
        )
      }
      t.equal(hashOf(last!.body), sha256(bytes))
      const { id } = JSON.parse(last!.body).processed[0]
      const got = await fetch(`${servers[1]!.url}/images/${id}`)
      t.equal(sha256(Buffer.from(await got.arrayBuffer())), sha256(bytes))
    }
    t.strictSame(await s3.openUploads(bucket), [])
    t.ok(!(await s3.keys(bucket)).some((key) => key.startsWith('incoming/')))
  })

  await t.test('take over from each other, after connections that were cut', async (t) => {
    const bytes = await makePadded(40 * MiB)
    const upload = await start(bytes.length)
    let known = 0
    for (let n = 0; n < 6; n++) {
      const rest = bytes.subarray(known)
      await patch(at(n, upload), known, rest, { cutAfter: randomInt(Math.min(rest.length, 12 * MiB)) })
      const offset = await offsetOf(at(n + 1, upload))
      if (offset < known) t.fail(`the offset moved back from ${known} to ${offset}`)
      known = offset
    }
    const last = await patch(at(2, upload), known, bytes.subarray(known))
    t.equal(hashOf(last!.body), sha256(bytes), last!.body.slice(0, 200))
  })

  await t.test('continue after S3 did not respond', async (t) => {
    const bytes = await makePadded(20 * MiB)
    const upload = await start(bytes.length)
    t.equal((await patch(at(0, upload), 0, bytes.subarray(0, 9 * MiB)))?.status, 204)
    proxy.fail(() => 503)
    const failed = await patch(at(1, upload), 9 * MiB, bytes.subarray(9 * MiB))
    t.equal(failed?.status, 503)
    proxy.fail(() => undefined)
    const offset = await offsetOf(at(2, upload))
    t.ok(offset >= 9 * MiB, `${offset}`)
    const last = await patch(at(2, upload), offset, bytes.subarray(offset))
    t.equal(hashOf(last!.body), sha256(bytes), last!.body.slice(0, 200))
    t.strictSame(await s3.openUploads(bucket), [])
  })
})

const run = (command: string, ...args: string[]) => spawnSync(command, args, { encoding: 'utf8' })
const withoutMount =
  run('unshare', '--mount', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt').status === 0
    ? false
    : 'a tmpfs can not be mounted here'

t.test(
  'an upload on a full disk gets 507, and continues when space is free',
  { skip: withoutMount },
  async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'hasty-disk-'))
    run('mount', '-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', folder)
    t.teardown(() => {
      run('umount', '--lazy', folder)
      rmdirSync(folder)
    })
    const env = {
      DATA_DIR: newFolder(t),
      OBJECT_STORE_URL: `file://${join(folder, 'objects')}`,
      WORKER_PROCESSES: '0',
    }
    const server = await startServer(t, env)
    const bytes = await makePadded(15 * MiB)
    const upload = await begin(await server.makeLink(), bytes.length)
    writeFileSync(join(folder, 'ballast'), Buffer.alloc(14 * MiB))
    t.equal((await patch(upload, 0, bytes.subarray(0, 4 * MiB)))?.status, 204)
    const full = await patch(upload, 4 * MiB, bytes.subarray(4 * MiB))
    t.equal(full?.status, 507)
    t.equal(JSON.parse(full!.body).type, 'urn:hasty:problem:insufficient-storage')
    const offset = await offsetOf(upload)
    t.ok(offset >= 4 * MiB, `${offset} bytes are acknowledged`)
    rmSync(join(folder, 'ballast'))
    const last = await patch(upload, offset, bytes.subarray(offset))
    t.equal(hashOf(last!.body), sha256(bytes), last!.body.slice(0, 200))
  },
)

const CUTS = 3
t.test(
  `after ${CUTS} power cuts, the acknowledged bytes are there`,
  {
    skip: findLoopDevices(),
    timeout: 180_000,
  },
  async (t) => {
    let disk = makeDisk()
    const start = () => startServer(t, { DATA_DIR: join(disk.folder, 'data'), WORKER_PROCESSES: '0' })
    let server = await start()
    run('sync', '-f', disk.folder) // the empty database was copied without flushes
    const path = new URL(await server.makeLink()).pathname
    const bytes = await makePadded(20 * MiB)
    const upload = new URL(await begin(server.url + path, bytes.length)).pathname
    let known = 0
    for (let cut = 0; cut < CUTS; cut++) {
      const acknowledged = known + randomInt(3 * MiB)
      const answer = await patch(server.url + upload, known, bytes.subarray(known, acknowledged))
      t.equal(answer?.status, 204)
      // The power is cut in the middle of the next request.
      const cutOff = patch(server.url + upload, acknowledged, bytes.subarray(acknowledged))
      await sleep(randomInt(30))
      process.kill(-server.process.pid!, 'SIGSTOP')
      const copy = disk.copy()
      process.kill(-server.process.pid!, 'SIGCONT')
      await server.end('SIGKILL', { group: true })
      await cutOff
      disk.remove()
      disk = copy
      server = await startServer(
        t,
        { DATA_DIR: join(disk.folder, 'data'), WORKER_PROCESSES: '0' },
        { database: 'new' },
      )
      known = await offsetOf(server.url + upload)
      t.ok(known >= acknowledged, `${known} of ${acknowledged} acknowledged bytes`)
      const result = JSON.parse((await send(server.url + upload, 'GET'))!.body)
      if (result.complete) {
        t.equal(result.processed[0].hash, sha256(bytes))
        break
      }
    }
    if (known < bytes.length) {
      const last = await patch(server.url + upload, known, bytes.subarray(known))
      t.equal(hashOf(last!.body), sha256(bytes), last!.body.slice(0, 200))
    }
    await server.end('SIGKILL', { group: true })
    disk.remove()
  },
)
