import { createHash } from 'node:crypto'
import { Transform } from 'node:stream'
import type { LiveImage } from '../../stores/data/interfaces/lifecycle.ts'
import { ObjectNotFound, type ObjectStore } from '../../stores/objects/object-store.ts'

/** The result of copying an object. */
export type Copied = 'copied' | 'missing' | 'damaged'

/** Copies an object from the first store that has it. A copy whose SHA-256 is not the image's is discarded. */
export async function copyChecked(
  { id, hash }: Pick<LiveImage, 'id' | 'hash'>,
  from: readonly ObjectStore[],
  to: ObjectStore,
): Promise<Copied> {
  let result: Copied = 'missing'
  for (const store of from) {
    const source = await store.get(id).catch((error) => {
      if (error instanceof ObjectNotFound) return undefined
      throw error
    })
    if (!source) continue
    const sha256 = createHash('sha256')
    const hashing = new Transform({
      transform(chunk, _encoding, done) {
        sha256.update(chunk)
        done(null, chunk)
      },
    })
    source.on('error', (error) => hashing.destroy(error))
    const staged = await to.stage(id, source.pipe(hashing))
    if (sha256.digest('hex') === hash) {
      await staged.commit()
      return 'copied'
    }
    await staged.discard()
    result = 'damaged'
  }
  return result
}

/**
 * Calls `work` for all items, `parallel` at a time. It rejects with the first failure, when no call is running any more: then
 * nothing is written after it.
 */
export async function inParallel<Item>(
  items: AsyncIterable<Item>,
  parallel: number,
  work: (item: Item) => Promise<void>,
) {
  const running = new Set<Promise<unknown>>()
  const failures: unknown[] = []
  try {
    for await (const item of items) {
      const one = work(item)
        .catch((error) => failures.push(error))
        .finally(() => running.delete(one))
      running.add(one)
      if (running.size >= parallel) await Promise.race(running)
      if (failures.length > 0) break
    }
  } finally {
    await Promise.all(running)
  }
  if (failures.length > 0) throw failures[0]
}
