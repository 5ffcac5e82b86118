import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { connect } from '../../stores/data/connect.ts'
import { admin } from '../helpers/app.ts'
import { newFolder } from '../helpers/folder.ts'
import { makePadded } from '../helpers/images.ts'
import { sha256 } from '../helpers/lifecycle.ts'
import { readiness } from '../helpers/readiness.ts'
import { send, startServer, until } from '../helpers/server.ts'
import { type Answered, filesIn, hasNoOrphans, watch, wrongAmong } from './harness.ts'

const MiB = 2 ** 20
const run = (command: string, ...args: string[]) => spawnSync(command, args, { encoding: 'utf8' })

/** Why tests with disks of their own can't run; false where they can. */
const withoutMount = () => {
  const tried = run('unshare', '--mount', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt')
  return tried.status === 0 ? (false as const) : 'a tmpfs can not be mounted here'
}

/** A disk of `size`, which goes with the test. */
function makeDisk(t: Test, size: string) {
  const folder = mkdtempSync(join(tmpdir(), 'hasty-disk-'))
  const mounted = run('mount', '-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', folder)
  if (mounted.status !== 0) throw new Error(mounted.stderr)
  t.teardown(() => {
    run('umount', '--lazy', folder)
    rmdirSync(folder)
  })
  return {
    folder,
    setReadOnly(readOnly: boolean) {
      const { status, stderr } = run('mount', '-o', `remount,${readOnly ? 'ro' : 'rw'}`, folder)
      if (status !== 0) throw new Error(stderr)
    },
  }
}

/** A server whose data, including its embedded database, has a separate disk of 128 MiB. */
async function startOnDisk(t: Test) {
  const disk = makeDisk(t, '128m')
  const DATA_DIR = join(disk.folder, 'data')
  const env = { DATA_DIR, WORKER_PROCESSES: '0' }
  const server = await startServer(t, env)
  const link = await server.makeLink()
  const answered: Answered = new Map()
  return { disk, DATA_DIR, env, server, link, answered }
}

/** The bytes that still fit on the disk of a folder. */
function roomOn(folder: string) {
  const { bavail, bsize } = statfsSync(folder)
  return bavail * bsize
}

t.test('disks that fail', { skip: withoutMount() }, async (t) => {
  await t.test(
    'a full disk gives 507 and leaves no object, and uploads work when space is free',
    async (t) => {
      const disk = makeDisk(t, '24m')
      const objects = join(disk.folder, 'objects')
      const env = {
        DATA_DIR: newFolder(t),
        OBJECT_STORE_URL: `file://${objects}`,
        WORKER_PROCESSES: '0',
      }
      const server = await startServer(t, env)
      const link = await server.makeLink()
      const answered: Answered = new Map()
      const isUnharmed = await watch(server)

      let full = 0
      while (full < 3) {
        const body = await makePadded(3 * MiB)
        const answer = await send(link, body)
        if (answer.status === 200) answered.set(answer.processed[0]!.id, sha256(body))
        else {
          t.equal(answer.status, 507)
          t.equal(answer.type, 'urn:hasty:problem:insufficient-storage')
          full++
        }
        t.ok(answered.size < 9, 'the disk is smaller than that')
      }
      t.ok(answered.size > 5, `${answered.size} images of 3 MiB were taken in`)
      t.equal(filesIn(objects).length, answered.size, 'nothing is left of the others')
      t.strictSame(await wrongAmong(server.url, answered), [], 'reads go on')

      // Several at once that each would have room alone.
      const small = await Promise.all(
        Array.from({ length: 20 }, async () => {
          const body = await makePadded(300_000)
          const answer = await send(link, body)
          if (answer.status === 200) answered.set(answer.processed[0]!.id, sha256(body))
          return answer.status
        }),
      )
      t.strictSame([...new Set(small)].sort(), [200, 507], 'some uploads fit, and the others get 507')
      t.equal(filesIn(objects).length, answered.size)

      const [first] = answered.keys()
      await fetch(`${server.url}/admin/images/${first}`, { method: 'DELETE', headers: admin })
      answered.delete(first!)
      const again = await makePadded(2 * MiB)
      const answer = await send(link, again)
      t.equal(answer.status, 200, 'there is room again')
      answered.set(answer.processed[0]!.id, sha256(again))
      t.strictSame(await wrongAmong(server.url, answered), [])
      await hasNoOrphans(t, server, env, objects)
      await isUnharmed(t)
    },
  )

  await t.test(
    'on a read-only disk images are read, and uploads work when it is writable again',
    async (t) => {
      const disk = makeDisk(t, '64m')
      const objects = join(disk.folder, 'objects')
      const env = {
        DATA_DIR: newFolder(t),
        OBJECT_STORE_URL: `file://${objects}`,
        WORKER_PROCESSES: '0',
      }
      const server = await startServer(t, env)
      const link = await server.makeLink()
      const body = await makePadded(100_000)
      const { id } = (await send(link, body)).processed[0]!
      const answered: Answered = new Map([[id, sha256(body)]])
      const isUnharmed = await watch(server)

      disk.setReadOnly(true)
      for (let n = 0; n < 3; n++) {
        const answer = await send(link, await makePadded(1 * MiB))
        t.equal(answer.status, 503)
        t.equal(answer.type, 'urn:hasty:problem:unavailable')
      }
      t.strictSame(await wrongAmong(server.url, answered), [], 'reads go on')
      await readiness(server.url, 503)
      t.equal((await fetch(`${server.url}/livez`)).status, 200)

      disk.setReadOnly(false)
      const again = await makePadded(1 * MiB)
      const { status, processed } = await send(link, again)
      t.equal(status, 200)
      answered.set(processed[0]!.id, sha256(again))
      t.strictSame(await wrongAmong(server.url, answered), [])
      await hasNoOrphans(t, server, env, objects)
      await isUnharmed(t)
    },
  )

  await t.test('the embedded database on a full disk', async (t) => {
    const { disk, DATA_DIR, env, server, link, answered } = await startOnDisk(t)
    const isUnharmed = await watch(server)
    const other = join(disk.folder, 'other')
    writeFileSync(other, Buffer.alloc(MiB))

    // Fills the disk up to its last bytes. No upload fits, and the database is the first to fail.
    const statuses: number[] = []
    for (let size = 4 * MiB; statuses.length < 5; ) {
      const body = await makePadded(size)
      const { status, processed } = await send(link, body)
      if (status === 200) answered.set(processed[0]!.id, sha256(body))
      else if (size > 100) size = Math.floor(size / 4)
      else statuses.push(status)
    }
    t.strictSame([...new Set(statuses)], [507])
    t.strictSame(await wrongAmong(server.url, answered), [], 'reads go on')

    const remove = async (id: string) => {
      const { status } = await fetch(`${server.url}/admin/images/${id}`, { method: 'DELETE', headers: admin })
      if (status === 204) answered.delete(id)
      return status
    }
    const [first, second, third] = answered.keys()
    const onFull = await remove(first!)
    t.ok(
      [204, 503].includes(onFull),
      `a removal is complete, or it is refused if the database has no room: ${onFull}`,
    )
    t.strictSame(await wrongAmong(server.url, answered), [], 'a refused removal changes nothing')

    // Somebody makes a little room.
    rmSync(other)
    t.equal(await until(async () => ((await remove(second!)) === 204 ? 204 : undefined)), 204)
    t.equal(await remove(third!), 204)
    const again = await makePadded(2 * MiB)
    const after = await send(link, again)
    t.equal(after.status, 200, 'there is room again')
    answered.set(after.processed[0]!.id, sha256(again))
    t.strictSame(await wrongAmong(server.url, answered), [])
    await hasNoOrphans(t, server, env, join(DATA_DIR, 'objects'))
    await isUnharmed(t)
  })

  await t.test('the embedded database recovers when its write-ahead log has space again', async (t) => {
    const { disk, DATA_DIR, env, server, link, answered } = await startOnDisk(t)
    const upload = async () => {
      const body = await makePadded(100_000)
      const answer = await send(link, body)
      if (answer.status === 200) answered.set(answer.processed[0]!.id, sha256(body))
      return answer
    }
    t.equal((await upload()).status, 200)
    const isUnharmed = await watch(server)

    const database = await connect({ dataDir: DATA_DIR, databaseUrl: undefined }, { attach: true })
    t.teardown(database.close)
    const rest = join(disk.folder, 'rest')
    writeFileSync(rest, Buffer.alloc(roomOn(disk.folder)))
    // More than the rest of a segment of 16 MiB.
    const log = async () => {
      for (let n = 0; n < 17; n++)
        await database.sql`select pg_logical_emit_message(false, '', repeat('x', ${MiB}::int))`
    }
    await t.rejects(log())
    await readiness(server.url, 503)
    t.equal((await fetch(`${server.url}/livez`)).status, 200)
    const refused = await upload()
    // 507 if this process still remembers the link, which it does for 4 s; else the database is asked for it: 503.
    t.match(String(refused.status), /^50[37]$/)
    await until(async () => server.lines.find((line) => line.includes('Check the free space on its disk.')))

    rmSync(rest)
    await until(async () => ((await fetch(`${server.url}/readyz`)).status === 200 ? true : undefined), 60_000)
    t.equal((await upload()).status, 200, 'there is room again')
    t.strictSame(await wrongAmong(server.url, answered), [])
    t.equal(answered.size, 2)
    await hasNoOrphans(t, server, env, join(DATA_DIR, 'objects'))
    await isUnharmed(t)
  })
})
