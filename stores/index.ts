import type { Config } from '../config.ts'
import { type DataStore, openDataStore } from './data/index.ts'
import { type ObjectStores, openObjectStores } from './objects/index.ts'
import { createDatabaseQueue } from './queue/database.ts'
import { openJetStreamQueue } from './queue/jetstream.ts'
import type { Queue } from './queue/queue.ts'

/** Where things live. */
export interface Stores {
  data: DataStore
  objects: ObjectStores
  queue: Queue
  close(): Promise<void>
}

/**
 * Opens the stores; which adapters they are, nobody else asks.
 *
 * @param attach whether the embedded database may be one that another process has open
 */
export async function openStores(config: Config, options: { attach: boolean }): Promise<Stores> {
  const objects = await openObjectStores(config)
  const data = await openDataStore(config, options)
  const queue = config.queueUrl ? await openJetStreamQueue(config.queueUrl, data) : createDatabaseQueue(data)
  return {
    data,
    objects,
    queue,
    async close() {
      await queue.close()
      await data.close()
    },
  }
}
