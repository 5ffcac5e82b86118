import { randomBytes } from 'node:crypto'
import t from 'tap'
import { newId } from '../../../services/ids.ts'
import { openDataStore } from '../../../stores/data/index.ts'
import type { Recorded } from '../../../stores/data/interfaces/uploads.ts'
import type { Database, Sql } from '../../../stores/data/sql.ts'
import { createUploads } from '../../../stores/data/uploads.ts'
import { newFolder } from '../../helpers/folder.ts'
import { newLink } from '../../helpers/links.ts'
import { startPostgres } from '../../helpers/postgres.ts'

// Sixteen uploads at most go together and add to one of 32 shards by chance, so of 33 such groups some meet the one that is
// held, hardly ever a quarter, and nobody waits behind them.
const OTHERS = 512
const MOST = OTHERS * 0.75
// By a link with a limit, one after the other.
const LIMITED = 64
// Idle, it takes a tenth of a second; the machine may have other work.
const PATIENCE_MS = 10_000
const HOT_ROW_MS = 1_000

const postgres = startPostgres(t)
for (const isolation of ['read committed', 'serializable'] as const) {
  t.test(`uploads hold no hot row, ${isolation}`, { skip: postgres.missing }, async (t) => {
    const databaseUrl = await postgres.createDatabase(isolation)
    const data = await openDataStore({ databaseUrl, dataDir: newFolder(t) }, { attach: false })
    t.teardown(() => data.close())
    const link = await data.links.insert(newLink())
    const newHash = () => randomBytes(32).toString('hex')
    const received = (hash = newHash()) => ({ link, name: '', startedAt: new Date(), hash, size: 200_000 })
    const newImage = () => ({
      id: newId(),
      status: 'ready' as const,
      metadata: { format: 'JPEG', mediaType: 'image/jpeg', cameraModel: 'Box 1' },
    })
    const known = newHash()
    await data.uploads.record(received(known), newImage())

    /**
     * Holds an upload before its commit, when all its statements have run, and tells how many of the other uploads of the
     * same link, day, format and camera are recorded meanwhile: when most are, or else after some milliseconds. Then all
     * go on.
     */
    async function recordedMeanwhile(
      first: (uploads: ReturnType<typeof createUploads>) => Promise<Recorded | undefined>,
      other: () => Promise<Recorded | undefined>,
      { of = OTHERS, milliseconds = PATIENCE_MS } = {},
    ) {
      const held = holdCommit(data.sql, (sql) => first(createUploads(sql)))
      await held.reached
      let recorded = 0
      const most = Promise.withResolvers<void>()
      const others = Array.from({ length: of }, async () => {
        await other()
        if (++recorded > MOST) most.resolve()
      })
      const impatience = setTimeout(most.resolve, milliseconds)
      await most.promise
      clearTimeout(impatience)
      const meanwhile = recorded
      held.release()
      await Promise.all([held.done, ...others])
      return meanwhile
    }

    const record = () => data.uploads.record(received(), newImage())
    const recordKnown = () => data.uploads.recordKnown(received(known))

    await t.test('uploads of new images continue while one is not committed', async (t) => {
      const recorded = await recordedMeanwhile((uploads) => uploads.record(received(), newImage()), record)
      t.ok(recorded > MOST, `${recorded} of ${OTHERS}`)
    })

    await t.test('uploads of a known image continue while one of them is not committed', async (t) => {
      const recorded = await recordedMeanwhile((uploads) => uploads.recordKnown(received(known)), recordKnown)
      t.ok(recorded > MOST, `${recorded} of ${OTHERS}`)
    })

    await t.test('the counts include all of them', async (t) => {
      const counted = await data.links.findWithCounts(link.id)
      t.equal(counted?.uploads, 1 + 2 * (1 + OTHERS))
    })

    await t.test('a link with a limit has one row that its uploads wait for', async (t) => {
      // What the test would see if there were a hot row.
      const limited = await data.links.insert({ ...link, id: newId(), maxImages: 1_000 })
      const ofLimited = () => ({ ...received(), link: limited })
      const recorded = await recordedMeanwhile(
        (uploads) => uploads.record(ofLimited(), newImage()),
        () => data.uploads.record(ofLimited(), newImage()),
        { of: LIMITED, milliseconds: HOT_ROW_MS },
      )
      t.equal(recorded, 0)
      t.equal((await data.links.find(limited.id))?.usedImages, 1 + LIMITED)
    })
  })
}

/** Does `work` in one transaction, which waits before it commits until it is released. */
function holdCommit(sql: Database, work: (sql: Database) => Promise<unknown>) {
  const reached = Promise.withResolvers<void>()
  const released = Promise.withResolvers<void>()
  const done = sql.begin(async (sql) => {
    // What would be a transaction of its own is a part of this one.
    const begin = (work: (sql: Sql) => Promise<unknown>) => work(sql)
    await work(Object.assign(sql, { begin }) as unknown as Database)
    reached.resolve()
    await released.promise
  })
  return { done, reached: reached.promise, release: released.resolve }
}
