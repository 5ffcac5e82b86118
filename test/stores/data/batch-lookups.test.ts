import type postgres from 'postgres'
import { readConfig } from '../../../config.ts'
import { newId } from '../../../services/ids.ts'
import { batchLookups } from '../../../stores/data/batch-lookups.ts'
import { connect } from '../../../stores/data/connect.ts'
import { createImages } from '../../../stores/data/images.ts'
import { openDataStore } from '../../../stores/data/index.ts'
import { createUploads } from '../../../stores/data/uploads.ts'
import { eachDatabase } from '../../helpers/databases.ts'
import { dataDirWithDatabase } from '../../helpers/embedded.ts'
import { inTier } from '../../helpers/tiers.ts'

inTier.default('look-ups of one turn of the event loop are one query, of 64 keys at most', async (t) => {
  const asked: (readonly string[])[] = []
  const find = batchLookups(
    async (keys) => {
      asked.push(keys)
      return keys
        .filter((key) => key !== 'unknown')
        .reverse()
        .map((key) => ({ key }))
    },
    ({ key }) => key,
  )
  t.strictSame(await Promise.all(['a', 'b', 'a', 'unknown'].map(find)), [
    { key: 'a' },
    { key: 'b' },
    { key: 'a' },
    undefined,
  ])
  t.strictSame(asked, [['a', 'b', 'a', 'unknown']])

  asked.length = 0
  const keys = Array.from({ length: 150 }, (_, n) => `${n}`)
  t.strictSame(
    await Promise.all(keys.map(find)),
    keys.map((key) => ({ key })),
  )
  t.strictSame(
    asked.map(({ length }) => length),
    [64, 64, 22],
  )
})

inTier.default('if the query fails, all its look-ups fail, and the next one succeeds', async (t) => {
  let broken = true
  const find = batchLookups(
    async (keys) => {
      if (broken) throw new Error('unavailable')
      return keys.map((key) => ({ key }))
    },
    ({ key }) => key,
  )
  for (const { status } of await Promise.allSettled(['a', 'b'].map(find))) t.equal(status, 'rejected')
  broken = false
  t.strictSame(await find('a'), { key: 'a' })
})

// A prepared statement may keep the plan that was made while the table was empty.
eachDatabase(
  async (t, env) => {
    const config = readConfig({ DATA_DIR: await dataDirWithDatabase(t), ...env })
    const data = await openDataStore(config, { attach: false })
    t.teardown(() => data.close())
    const { sql, close } = await connect(config, { attach: true })
    t.teardown(close)
    // The very statements that the stores run are explained.
    const ran: Promise<postgres.RowList<postgres.Row[]>>[] = []
    const recording = new Proxy(sql, {
      apply(target, _this, args: Parameters<typeof sql>) {
        const made: unknown = Reflect.apply(target, undefined, args)
        if (made instanceof Promise) ran.push(made)
        return made
      },
    })
    const only = await sql.reserve()
    t.teardown(() => only.release())
    await only.unsafe('set plan_cache_mode = force_generic_plan')

    async function explain(types: string, values: string) {
      const { string } = (await ran.at(-1)!).statement
      await only.unsafe('deallocate all')
      await only.unsafe(`prepare statement (${types}) as ${string}`)
      const plan = await only.unsafe(`explain execute statement (${values})`)
      return plan.map((row) => row.queryPlan ?? row['QUERY PLAN']).join('\n')
    }

    await createImages(recording).findServed(newId())
    const lookup = await explain('text[]', `'{a,b}'`)
    t.match(lookup, /Index Scan using images_pkey/)
    t.notMatch(lookup, /Seq Scan on images/)

    const link = { id: newId(), region: '', maxImages: null, maxBytes: null }
    await createUploads(recording).recordKnown({
      link,
      startedAt: new Date(),
      name: '',
      hash: 'unknown',
      size: 1,
    })
    const known = await explain('jsonb, smallint', `'[]', 0`)
    t.match(known, /Index Scan using images_shared_content/)
    t.notMatch(known, /Seq Scan on images/)
  },
  { serializable: true },
)
