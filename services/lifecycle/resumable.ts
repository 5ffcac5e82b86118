import { keyOfUnfinished } from '../../stores/objects/object-store.ts'
import { newId } from '../ids.ts'
import { removeBytes } from '../uploads/resumable/remove.ts'
import { BATCH, inBatches, LIMIT, PARALLEL, type SweepContext } from './sweep-context.ts'

/** Deletes resumable uploads, finished or not, that have expired. */
export async function removeExpiredUploads(context: SweepContext): Promise<void> {
  const { stores, dryRun, summary, check } = context
  if (dryRun) {
    summary.expiredUploads = await stores.data.resumable.countExpired()
    return
  }
  const writer = newId()
  for (let removed = 0; removed < LIMIT; ) {
    const expired = await stores.data.resumable.takeExpired(writer, BATCH)
    for await (const some of inBatches(expired, PARALLEL)) {
      check()
      await Promise.all(
        some.map(async (row) => {
          if (!row.finishedAt) {
            await removeBytes(stores, row)
            summary.expiredUploads++
          }
          await stores.data.resumable.remove(row.id)
        }),
      )
    }
    removed += expired.length
    if (expired.length < BATCH) return
  }
}

/** Which of these listed keys belong to uploads that can still be continued. */
export async function continuable({ stores }: SweepContext, keys: string[]): Promise<Set<string>> {
  const ids = new Map(keys.map((key) => [key, keyOfUnfinished(key) ?? key]))
  const unfinished = await stores.data.resumable.unfinished([...new Set(ids.values())])
  return new Set(keys.filter((key) => unfinished.has(ids.get(key)!)))
}
