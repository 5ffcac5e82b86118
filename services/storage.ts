import type { StorageReport, StoreUse } from '../schemas/storage.ts'
import type { DataStore } from '../stores/data/data-store.ts'

/** The name under which the sweep stores the use of the object stores. */
export const STORAGE_JOB = 'storage'
const LINKS = 100

/** The use of storage. The sweep measures it, because a bucket has to be listed for it. */
export function createStorage({ jobState, links }: Pick<DataStore, 'jobState' | 'links'>) {
  return {
    async read(): Promise<StorageReport> {
      const [measured, largest] = await Promise.all([jobState.read(STORAGE_JOB), links.largest(LINKS)])
      return {
        ...(measured && { measuredAt: measured.at.toISOString() }),
        stores: (measured?.value as { stores: StoreUse[] } | undefined)?.stores ?? [],
        links: largest.map(({ id, label, uploads, bytes }) => ({
          id,
          ...(label !== null && { label }),
          uploads,
          bytes,
        })),
      }
    },
  }
}
