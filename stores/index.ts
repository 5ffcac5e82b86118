import type { Config } from '../config.ts'
import { type DataStore, openDataStore } from './data/index.ts'
import { createFileStore } from './objects/file.ts'
import type { ObjectStore } from './objects/object-store.ts'
import { createDatabaseQueue } from './queue/database.ts'
import { openJetStreamQueue } from './queue/jetstream.ts'
import type { Queue } from './queue/queue.ts'

/** Where things live. */
export interface Stores {
  data: DataStore
  objects: ObjectStore
  /** Where archived objects are, under the same keys; undefined where nothing is archived. */
  cold: ObjectStore | undefined
  queue: Queue
  close(): Promise<void>
}

/**
 * Opens the stores; here alone a URL's scheme chooses the adapter.
 *
 * @param attach whether the embedded database may be one that another process has open
 */
export async function openStores(config: Config, options: { attach: boolean }): Promise<Stores> {
  const objects = await openObjectStore('OBJECT_STORE_URL', config.objectStoreUrl)
  const cold = config.coldStoreUrl && (await openObjectStore('COLD_STORE_URL', config.coldStoreUrl))
  const data = await openDataStore(config, options)
  const queue = config.queueUrl ? await openJetStreamQueue(config.queueUrl, data) : createDatabaseQueue(data)
  return {
    data,
    objects,
    cold,
    queue,
    async close() {
      await queue.close()
      await data.close()
    },
  }
}

async function openObjectStore(name: string, url: URL): Promise<ObjectStore> {
  switch (url.protocol) {
    case 'file:':
      return createFileStore(url)
    case 's3:':
      // Loaded where it is used: the AWS SDK takes 36 MB of memory.
      return (await import('./objects/s3/index.ts')).createS3Store(url)
    default:
      throw new Error(`${name}: there is no store for ${url.protocol}`)
  }
}
