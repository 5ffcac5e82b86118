import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import type { Test } from 'tap'
import type { Appendable, ObjectStore, UnfinishedObject } from '../../../stores/objects/object-store.ts'
import { keyOfUnfinished } from '../../../stores/objects/object-store.ts'
import { keys } from './object-store-contract.ts'

/**
 * The contract of all stores that can append.
 *
 * @param store an empty store; it is empty again at the end
 * @param size the size of the objects in bytes
 */
export async function appendContract(t: Test, store: ObjectStore & Appendable, size: number) {
  const bytes = randomBytes(size)
  /** Sends the state through JSON, as a database does. */
  const stored = (state: UnfinishedObject) => JSON.parse(JSON.stringify(state)) as UnfinishedObject
  const source = (from: number, to: number) => {
    const pieces: Buffer[] = []
    for (let at = from; at < to; at += 65_536) pieces.push(bytes.subarray(at, Math.min(at + 65_536, to)))
    return Readable.from(pieces)
  }
  const append = async (
    state: UnfinishedObject,
    to: number,
    { exclusive = true, seen = [] as UnfinishedObject[] } = {},
  ) =>
    stored(
      await store.append(stored(state), source(state.size, to), {
        exclusive,
        checkpoint: async (next) => {
          seen.push(stored(next))
          return true
        },
      }),
    )
  const isObject = async (key: string, length = size) =>
    bytes.subarray(0, length).equals(await buffer(await store.get(key)))

  await t.test('an object in one piece, in several, and with pieces of one byte', async (t) => {
    for (const [name, ends] of Object.entries({
      whole: [size],
      several: [Math.floor(size / 3), Math.floor(size / 2), size],
      bytes: [1, 2, 3, size - 1, size],
    })) {
      let state = store.begin(name)
      t.equal(state.size, 0)
      for (const end of ends) {
        state = await append(state, end)
        t.equal(state.size, end)
        t.equal(await store.sizeOfUnfinished(state), end)
      }
      await t.rejects(store.get(name), { name: 'ObjectNotFound' }, 'it is no object before its end')
      await store.finish(state)
      t.ok(await isObject(name), name)
      await store.finish(state)
      t.ok(await isObject(name), 'a second attempt to finish it changes nothing')
      await store.delete(name)
      t.strictSame(await keys(store), [], 'nothing is left')
    }
  })

  await t.test('an append without bytes changes nothing', async (t) => {
    let state = await append(store.begin('nothing'), 0)
    t.equal(state.size, 0)
    state = await append(state, 1_000)
    state = await append(state, 1_000)
    t.equal(state.size, 1_000)
    await store.finish(state)
    t.ok(await isObject('nothing', 1_000))
    await store.delete('nothing')
  })

  await t.test('unfinished bytes are listed with the key of their object, and can be deleted', async (t) => {
    const state = await append(store.begin('listed'), size)
    const listed = await Array.fromAsync(store.list())
    t.ok(listed.length > 0)
    t.ok(listed.every(({ key }) => keyOfUnfinished(key) === 'listed'))
    t.equal(
      listed.reduce((sum, object) => sum + object.size, 0),
      size,
    )
    for (const { key } of listed) await store.delete(key)
    t.strictSame(await keys(store), [])
    t.ok((await store.sizeOfUnfinished(state)) < size)
    // Ceph completes an aborted multipart upload for some time, with all its bytes.
    const error = await store.finish(state).catch((fault) => fault)
    if (error) t.match(error.name, /^(UploadLost|StoreUnavailable)$/)
    else t.ok(await isObject('listed'))
    await store.delete('listed')
    await store.abandon(state)
  })

  await t.test('an abandoned upload leaves nothing', async (t) => {
    await store.abandon(await append(store.begin('abandoned'), size))
    await store.abandon(store.begin('never'))
    t.strictSame(await keys(store), [])
  })

  await t.test('bytes that were not recorded are dropped', async (t) => {
    for (const exclusive of [true, false]) {
      const recorded = await append(store.begin('dropped'), 1_000)
      // A process appended more, and did not record it.
      const unchanged = await store.append(stored(recorded), source(1_000, size), {
        exclusive: true,
        checkpoint: async () => false,
      })
      t.strictSame(stored(unchanged), recorded)
      const dying = store.append(stored(recorded), source(1_000, size), {
        exclusive: true,
        checkpoint: () => Promise.reject(new Error('died')),
      })
      await t.rejects(dying, { message: 'died' })
      const state = await append(recorded, 1_500, { exclusive })
      t.equal(state.size, 1_500)
      await store.finish(state)
      t.ok(await isObject('dropped', 1_500))
      for (const key of await keys(store)) await store.delete(key)
    }
  })

  await t.test('a writer that was replaced cannot change the object any more', async (t) => {
    const first = await append(store.begin('replaced'), 1_000)
    const late = new Readable({ read() {} })
    const wrong = store.append(stored(first), late, { exclusive: true, checkpoint: async () => true })
    late.push(Buffer.alloc(700, 'x'))
    await new Promise((resolve) => setTimeout(resolve, 50))
    const state = await append(first, 2_000, { exclusive: false })
    late.push(Buffer.alloc(5_000, 'x'))
    await new Promise((resolve) => setTimeout(resolve, 50))
    await store.finish(state)
    late.push(Buffer.alloc(5_000, 'x'))
    late.push(null)
    await wrong.catch(() => {})
    t.ok(await isObject('replaced', 2_000))
    for (const key of await keys(store)) await store.delete(key)
  })

  await t.test('if the caller refuses a state, the call rejects with its error', async (t) => {
    const refused = store.append(store.begin('refused'), source(0, size), {
      exclusive: true,
      checkpoint: () => Promise.reject(new Error('not any more')),
    })
    await t.rejects(refused, { message: 'not any more' })
    for (const key of await keys(store)) {
      t.equal(keyOfUnfinished(key), 'refused')
      await store.delete(key)
    }
  })
}
