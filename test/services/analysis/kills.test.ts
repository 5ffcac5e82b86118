import { randomBytes } from 'node:crypto'
import type { Readable } from 'node:stream'
import type { Stores } from '../../../stores/index.ts'
import { createObjectStores } from '../../../stores/objects/index.ts'
import { hasPaths, type ObjectStore } from '../../../stores/objects/object-store.ts'
import { admin } from '../../helpers/app.ts'
import { eachDatabase } from '../../helpers/databases.ts'
import { makeImage } from '../../helpers/images.ts'
import { backdate, buildWithSweep, DAY, HOUR, keysOf, sha256 } from '../../helpers/lifecycle.ts'
import { tier } from '../../helpers/tiers.ts'

class Killed extends Error {}

/**
 * The stores of a process that is killed at its step number `last`: before it, or when it is done but nobody hears of
 * that. After that nothing the process does has an effect.
 */
function dying(stores: Stores, last: number, when: 'before' | 'after') {
  let steps = 0
  const step = async <T>(work: () => Promise<T>): Promise<T> => {
    steps++
    if (steps > last || (steps === last && when === 'before')) throw new Killed(`step ${steps}`)
    const result = await work()
    if (steps === last) throw new Killed(`step ${steps}`)
    return result
  }
  const dyingStore = (store: ObjectStore): ObjectStore => ({
    ...store,
    async stage(key, source: Readable) {
      const staged = await step(() => store.stage(key, source))
      return { commit: () => step(staged.commit), discard: () => step(staged.discard) }
    },
    get: (key, range) => step(() => store.get(key, range)),
    size: (key) => step(() => store.size(key)),
    delete: (key) => step(() => store.delete(key)),
  })
  const { data, objects } = stores
  const { lifecycle, sweeps } = data
  return {
    get steps() {
      return steps
    },
    stores: {
      ...stores,
      objects: createObjectStores(
        objects.all.map(({ location, store }) => ({ location, store: dyingStore(store) })),
      ),
      data: {
        ...data,
        lifecycle: {
          ...lifecycle,
          move: (...args: Parameters<typeof lifecycle.move>) => step(() => lifecycle.move(...args)),
          removeNotAccessed: (...args: Parameters<typeof lifecycle.removeNotAccessed>) =>
            step(() => lifecycle.removeNotAccessed(...args)),
        },
        sweeps: {
          ...sweeps,
          save: (...args: Parameters<typeof sweeps.save>) => step(() => sweeps.save(...args)),
        },
      },
    } satisfies Stores,
  }
}

/** In the engines tier each step has a kill before it and one after it. In `npm test` the steps have one or the other. */
const momentsOf = (step: number) =>
  (['before', 'after'] as const).filter((_, index) => tier !== 'default' || step % 2 === index)

eachDatabase(async (t, env) => {
  const { fresh } = await buildWithSweep(t, env)

  /** Forgets what was read of rows, as a process does that is started anew. */
  const isThere = async (
    { app, objects, cold }: Awaited<ReturnType<typeof fresh>>,
    { id, hash }: { id: string; hash: string },
  ) => {
    app.cache.images.delete(id)
    const got = await app.inject(`/images/${id}`)
    const copies = [...(await keysOf(objects)), ...(await keysOf(cold))].filter((key) => key === id).length
    return got.statusCode === 200 && sha256(got.rawPayload) === hash && copies
  }

  for (const [name, config] of Object.entries({
    archived: { archiveAfter: DAY },
    'moved back': {},
  })) {
    await t.test(`a kill at any step while an image is ${name} loses nothing`, async (t) => {
      const one = await fresh()
      const { sweep, upload, age, stores, tierOf, objects, cold } = one
      t.ok(hasPaths(objects))
      const [wanted, store] = name === 'archived' ? ['cold', cold] : ['hot', objects]
      let kills = 0
      for (let last = 1; ; last++) {
        let steps = 0
        for (const when of momentsOf(last)) {
          const image = await upload(Buffer.concat([await makeImage(), randomBytes(300_000)]))
          await age(image.id, 3 * DAY)
          if (name !== 'archived') await sweep({ archiveAfter: DAY })
          const process = dying(stores, last, when)
          // Its summary is not saved: then the process came to its end.
          await sweep(config, { stores: process.stores }).catch(() => {})
          steps = process.steps
          t.ok(await isThere(one, image), `killed ${when} step ${last} of ${steps}`)
          await age(image.id, 3 * DAY)
          if (name !== 'archived') await stores.data.sql`update images set last_accessed_at = now()`

          t.match(await sweep(config), { missing: 0, failedSteps: 0 })
          t.equal(await tierOf(image.id), wanted)
          // A copy in the other store is young only in the cold one.
          for (const key of await keysOf(cold)) await backdate(cold, key, HOUR)
          for (const key of await keysOf(objects)) await backdate(objects, key, HOUR)
          t.match(await sweep({ ...config, sweepGrace: 1 }), { missing: 0, failedSteps: 0 })
          t.equal(await isThere(one, image), 1, 'one copy is left')
          t.ok((await keysOf(store!)).includes(image.id))
          t.equal((await keysOf(objects)).length + (await keysOf(cold)).length, 1)
          await one.app.inject({ method: 'DELETE', url: `/admin/images/${image.id}`, headers: admin })
          kills++
        }
        if (steps < last) break
      }
      t.ok(kills > 5, `${kills} kills`)
    })
  }

  await t.test('a kill at any step of the removal of images leaves no object', async (t) => {
    const { app, sweep, upload, age, stores, objects, cold } = await fresh()
    for (let last = 1; ; last++) {
      let steps = 0
      for (const when of momentsOf(last)) {
        const [one, other] = [await upload(await makeImage()), await upload(await makeImage())]
        await age(one.id, 9 * DAY)
        await sweep({ archiveAfter: DAY })
        await age(other.id, 9 * DAY)
        const process = dying(stores, last, when)
        await sweep({ deleteAfter: DAY, archiveAfter: 20 * DAY }, { stores: process.stores }).catch(() => {})
        steps = process.steps
        for (const store of [objects, cold])
          for (const key of await keysOf(store)) await backdate(store, key, HOUR)
        t.match(await sweep({ deleteAfter: DAY, archiveAfter: 20 * DAY, sweepGrace: 1 }), {
          missing: 0,
          failedSteps: 0,
        })
        t.strictSame(
          [await keysOf(objects), await keysOf(cold)],
          [[], []],
          `${when} step ${last} of ${steps}`,
        )
        for (const { id } of [one, other]) {
          app.cache.images.delete(id)
          t.equal((await app.inject(`/images/${id}`)).statusCode, 410)
        }
      }
      if (steps < last) break
    }
  })
})
