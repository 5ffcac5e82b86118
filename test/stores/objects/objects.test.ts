import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { open, readdir, rm } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { createFileStore } from '../../../stores/objects/file/index.ts'
import { newFolder } from '../../helpers/folder.ts'
import { appendContract } from './append-contract.ts'
import { chunks, contract, keys } from './object-store-contract.ts'

t.test('file store', async (t) => {
  const folder = newFolder(t)
  const store = await createFileStore(pathToFileURL(folder))
  await store.writeInstallation('test')
  await contract(t, store)
  await t.test('appends', (t) => appendContract(t, store, 3_000_000))

  await t.test('an upload that a killed process left is listed and can be deleted', async (t) => {
    const source = new Readable({ read() {} })
    const hanging = store.stage('hanging', source)
    hanging.catch(() => {})
    while ((await readdir(`${folder}/incoming`)).length === 0);
    const [left] = await keys(store)
    t.match(left, /^incoming\//)
    await store.delete(left!)
    t.strictSame(await keys(store), [])
    source.destroy()
    await t.rejects(hanging)
  })

  await t.test('a small object is read completely or not at all', async (t) => {
    const { bytes, source } = chunks(100_000)
    await (await store.stage('small', source)).commit()
    t.ok(bytes.equals(await store.readWhole('small', bytes.length)))
    for (const size of [0, bytes.length - 1, bytes.length + 1])
      await t.rejects(store.readWhole('small', size), /is not/, `of ${size} bytes`)
    await t.rejects(store.readWhole('none', 1), { name: 'ObjectNotFound' })
    await store.delete('small')
  })

  await t.test('a large object is complete for every size of its pieces', async (t) => {
    const bytes = randomBytes(40_000_000)
    const pieces = function* () {
      const lengths = [1, 7, 100_000, 3_000_000, 65_536]
      for (let at = 0, n = 0; at < bytes.length; at += lengths[n++ % lengths.length]!)
        yield bytes.subarray(at, at + lengths[n % lengths.length]!)
    }
    await (await store.stage('large', Readable.from(pieces()))).commit()
    t.ok(bytes.equals(await buffer(await store.get('large'))))
    await store.delete('large')
  })

  await t.test('a reader that is destroyed closes its file', async (t) => {
    await (await store.stage('givenup', chunks(10_000_000).source)).commit()
    const open = () => readdirSync('/proc/self/fd').length
    const before = open()
    const fresh = await store.get('givenup')
    const started = await store.get('givenup')
    await once(started, 'readable')
    const reading = await store.get('givenup')
    reading.resume()
    t.equal(open(), before + 3)
    for (const reader of [fresh, started, reading]) reader.destroy()
    await Promise.all([fresh, started, reading].map((reader) => reader.closed || once(reader, 'close')))
    t.equal(open(), before)
    await store.delete('givenup')
  })

  await t.test('a folder that was removed is made again', async (t) => {
    const put = async (key: string) => (await store.stage(key, chunks(10).source)).commit()
    await put('foldera')
    await rm(`${folder}/fo`, { recursive: true })
    await Promise.all(['folderb', 'folderc', 'folderd'].map(put))
    t.strictSame(await keys(store), ['folderb', 'folderc', 'folderd'])
    for (const key of await keys(store)) await store.delete(key)
  })

  await t.test('a file system that reads less than requested does not cut an object', async (t) => {
    const { bytes, source } = chunks(700_000)
    await (await store.stage('short', source)).commit()
    // What NFS and FUSE may do (POSIX, read(2)): a read of at most 1,000 bytes.
    const handle = await open(folder)
    const prototype = Object.getPrototypeOf(handle)
    await handle.close()
    const original = prototype.read
    t.teardown(() => {
      prototype.read = original
    })
    prototype.read = function (this: unknown, piece: Buffer, at: number, length: number, position: number) {
      return original.call(this, piece, at, Math.min(length, 1_000), position)
    }
    t.ok(bytes.equals(await buffer(await store.get('short'))), 'the object')
    const range = await store.get('short', { start: 10, end: 600_000 })
    t.ok(bytes.subarray(10, 600_001).equals(await buffer(range)), 'a range')
    const pieces: Buffer[] = []
    for await (const piece of await store.get('short', undefined, { reuse: true }))
      pieces.push(Buffer.from(piece))
    t.ok(bytes.equals(Buffer.concat(pieces)), 'with reuse')
    await store.delete('short')
  })

  for (const [when, size, method, failing] of [
    ['at a flush during the upload', 40_000_000, 'datasync', 1],
    ['at the last flush', 10, 'datasync', 1],
    ['at the flush of the folder', 10, 'sync', 2], // the first is of the root
    ['at the second write', 40_000_000, 'writev', 2],
  ] as const) {
    await t.test(`a fault of the disk ${when} is an error and leaves no part of an object`, async (t) => {
      const before = await keys(store)
      const handle = await open(folder)
      const prototype = Object.getPrototypeOf(handle)
      await handle.close()
      let calls = 0
      const original = prototype[method]
      t.teardown(() => {
        prototype[method] = original
      })
      prototype[method] = function (this: unknown, ...parameters: unknown[]) {
        if (++calls === failing) return Promise.reject(Object.assign(new Error('EIO'), { code: 'EIO' }))
        return original.apply(this, parameters)
      }
      await t.rejects(
        store.stage('faulty', chunks(size).source).then((staged) => staged.commit()),
        { name: 'StoreUnavailable', cause: { code: 'EIO' } },
      )
      t.ok(calls >= failing)
      t.strictSame(await keys(store), before)
    })
  }
})
