import { randomBytes } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { pathToFileURL } from 'node:url'
import t, { type Test } from 'tap'
import { createFileStore } from '../../stores/objects/file.ts'
import type { ObjectStore } from '../../stores/objects/object-store.ts'

const keys = async (store: ObjectStore) => (await Array.fromAsync(store.list())).map(({ key }) => key).sort()

/** What every object store does. */
async function contract(t: Test, store: ObjectStore) {
  const bytes = randomBytes(3_000_000)
  const chunks = () =>
    Readable.from([bytes.subarray(0, 10), bytes.subarray(10, 2_000_000), bytes.subarray(2_000_000)])

  await t.test('what was put is got, whole and in ranges', async (t) => {
    const staged = await store.stage('abcdefgh', chunks())
    await t.rejects(store.get('abcdefgh'), { name: 'ObjectNotFound' }, 'not there before the commit')
    await staged.commit()
    t.equal(await store.size('abcdefgh'), bytes.length)
    t.ok(bytes.equals(await buffer(await store.get('abcdefgh'))))
    for (const [start, end] of [
      [0, 0],
      [5, 2_500_000],
      [2_999_999, 2_999_999],
    ] as const) {
      t.ok(
        bytes.subarray(start, end + 1).equals(await buffer(await store.get('abcdefgh', { start, end }))),
        `${start}-${end}`,
      )
    }
  })

  await t.test('the listing has key, size and time', async (t) => {
    const [object] = await Array.fromAsync(store.list())
    t.match(object, { key: 'abcdefgh', size: bytes.length })
    t.ok(Math.abs(Date.now() - object!.modifiedAt.getTime()) < 60_000)
  })

  await t.test('a stream that fails leaves nothing', async (t) => {
    const source = new Readable({ read() {} })
    const stage = store.stage('failing', source)
    source.push(randomBytes(500_000))
    setTimeout(() => source.destroy(new Error('cut')), 20)
    await t.rejects(stage, { message: 'cut' })
    const gone = new Readable({ read() {} })
    gone.destroy(new Error('cut before'))
    await t.rejects(store.stage('failing', gone), { message: 'cut before' })
    t.strictSame(await keys(store), ['abcdefgh'])
  })

  await t.test('what is discarded leaves nothing', async (t) => {
    for (const source of [Readable.from([]), chunks()]) {
      const staged = await store.stage('discarded', source)
      await staged.discard()
    }
    t.strictSame(await keys(store), ['abcdefgh'])
  })

  await t.test('an object of no bytes is an object', async (t) => {
    const staged = await store.stage('emptyone', Readable.from([]))
    await staged.commit()
    t.equal(await store.size('emptyone'), 0)
    t.equal((await buffer(await store.get('emptyone'))).length, 0)
    await store.delete('emptyone')
  })

  await t.test('what is not there is ObjectNotFound, and can be deleted', async (t) => {
    await t.rejects(store.get('nothing'), { name: 'ObjectNotFound' })
    await t.rejects(store.size('nothing'), { name: 'ObjectNotFound' })
    await store.delete('nothing')
  })

  await t.test('a deleted object is gone', async (t) => {
    await store.delete('abcdefgh')
    await t.rejects(store.get('abcdefgh'), { name: 'ObjectNotFound' })
    t.strictSame(await keys(store), [])
  })

  await t.test('it answers', async () => store.ping())
}

t.test('file store', async (t) => {
  const folder = t.testdir()
  const store = await createFileStore(pathToFileURL(folder))
  await contract(t, store)

  await t.test('what a killed process left is listed and can be deleted', async (t) => {
    const hanging = store.stage('hanging', new Readable({ read() {} }))
    hanging.catch(() => {})
    while ((await readdir(`${folder}/incoming`)).length === 0);
    const [left] = await keys(store)
    t.match(left, /^incoming\//)
    await store.delete(left!)
    t.strictSame(await keys(store), [])
  })
})
