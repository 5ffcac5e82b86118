import { readdir } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { createFileStore } from '../../stores/objects/file.ts'
import { contract, keys } from './object-store-contract.ts'

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
