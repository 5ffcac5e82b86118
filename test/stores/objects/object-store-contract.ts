import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import type { Test } from 'tap'
import type { ObjectStore } from '../../../stores/objects/object-store.ts'

export const keys = async (store: ObjectStore) =>
  (await Array.fromAsync(store.list())).map(({ key }) => key).sort()

/** A source of `size` bytes in chunks of 64 KiB, and what it yields. */
export function chunks(size: number) {
  const bytes = randomBytes(size)
  const pieces = Array.from({ length: Math.ceil(size / 65_536) }, (_, i) =>
    bytes.subarray(i * 65_536, (i + 1) * 65_536),
  )
  return { bytes, source: Readable.from(pieces) }
}

/**
 * What every object store does.
 *
 * @param store an empty one; it is so again at the end
 * @param size how long the objects are, in bytes; at least 2,500,000
 */
export async function contract(t: Test, store: ObjectStore, size = 3_000_000) {
  const bytes = randomBytes(size)
  const uneven = () =>
    Readable.from([bytes.subarray(0, 10), bytes.subarray(10, 2_000_000), bytes.subarray(2_000_000)])

  await t.test('a committed object can be read, completely and in ranges', async (t) => {
    const staged = await store.stage('abcdefgh', uneven())
    await t.rejects(store.get('abcdefgh'), { name: 'ObjectNotFound' }, 'not there before the commit')
    const { content } = staged
    if (content) t.ok(bytes.equals(Buffer.isBuffer(content) ? content : readFileSync(content.path)))
    await staged.commit()
    t.equal(await store.size('abcdefgh'), size)
    t.ok(bytes.equals(await buffer(await store.get('abcdefgh'))))
    for (const [start, end] of [
      [0, 0],
      [5, size - 500_000],
      [size - 1, size - 1],
    ] as const) {
      t.ok(
        bytes.subarray(start, end + 1).equals(await buffer(await store.get('abcdefgh', { start, end }))),
        `${start}-${end}`,
      )
    }
  })

  await t.test('with `reuse`, all pieces use the same memory, one after the other', async (t) => {
    for (const range of [undefined, { start: 5, end: size - 7 }]) {
      const pieces: Buffer[] = []
      for await (const piece of await store.get('abcdefgh', range, { reuse: true }))
        pieces.push(Buffer.from(piece))
      const expected = range ? bytes.subarray(range.start, range.end + 1) : bytes
      t.ok(expected.equals(Buffer.concat(pieces)), range ? `${range.start}-${range.end}` : 'whole')
    }
  })

  await t.test('the listing has the key, size and time of each object', async (t) => {
    const [object] = await Array.fromAsync(store.list())
    t.match(object, { key: 'abcdefgh', size })
    t.ok(Math.abs(Date.now() - object!.modifiedAt.getTime()) < 60_000)
  })

  await t.test('a source that fails leaves nothing behind', async (t) => {
    const source = new Readable({ read() {} })
    const stage = store.stage('failing', source)
    source.push(bytes.subarray(1))
    setTimeout(() => source.destroy(new Error('cut')), 20)
    await t.rejects(stage, { message: 'cut' })
    const gone = new Readable({ read() {} })
    gone.destroy(new Error('cut before'))
    await t.rejects(store.stage('failing', gone), { message: 'cut before' })
    t.strictSame(await keys(store), ['abcdefgh'])
  })

  await t.test('a discarded object leaves nothing behind', async (t) => {
    for (const source of [Readable.from([]), uneven()]) {
      const staged = await store.stage('discarded', source)
      await staged.discard()
    }
    t.strictSame(await keys(store), ['abcdefgh'])
  })

  await t.test('an object may have 0 bytes', async (t) => {
    const staged = await store.stage('emptyone', Readable.from([]))
    await staged.commit()
    t.equal(await store.size('emptyone'), 0)
    t.equal((await buffer(await store.get('emptyone'))).length, 0)
    await store.delete('emptyone')
  })

  await t.test('a missing object is ObjectNotFound, and deleting it is not an error', async (t) => {
    await t.rejects(store.get('nothing'), { name: 'ObjectNotFound' })
    await t.rejects(store.size('nothing'), { name: 'ObjectNotFound' })
    await store.delete('nothing')
  })

  await t.test('an object can be moved to the trash and back', async (t) => {
    const before = Date.now()
    await store.rename('abcdefgh', 'trash/abcdefgh')
    await t.rejects(store.get('abcdefgh'), { name: 'ObjectNotFound' })
    t.ok(bytes.equals(await buffer(await store.get('trash/abcdefgh'))))
    const [object, ...others] = await Array.fromAsync(store.list())
    t.match(object, { key: 'trash/abcdefgh', size })
    t.strictSame(others, [])
    t.ok(object!.modifiedAt.getTime() > before - 2_000, 'its time is that of the move')
    await store.rename('trash/abcdefgh', 'abcdefgh')
    t.strictSame(await keys(store), ['abcdefgh'])
    t.equal(await store.size('abcdefgh'), size)
    await t.rejects(store.rename('nothing', 'trash/nothing'), { name: 'ObjectNotFound' })
  })

  await t.test('the id of the installation is stored, and is not an object', async (t) => {
    await store.writeInstallation('first')
    t.equal(await store.readInstallation(), 'first')
    await store.writeInstallation('test')
    t.equal(await store.readInstallation(), 'test')
    t.strictSame(await keys(store), ['abcdefgh'])
  })

  await t.test('a deleted object cannot be read and is not listed', async (t) => {
    await store.delete('abcdefgh')
    await t.rejects(store.get('abcdefgh'), { name: 'ObjectNotFound' })
    t.strictSame(await keys(store), [])
  })

  await t.test('a ping resolves', async () => store.ping())
}
