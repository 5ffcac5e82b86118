import type { Config } from '../config.ts'
import type { DataStore } from './data/data-store.ts'
import { openDataStore } from './data/index.ts'
import { type ObjectStores, openObjectStores } from './objects/index.ts'
import { createDatabaseQueue } from './queue/database.ts'
import type { Queue } from './queue/queue.ts'

/** The stores of a process. */
export interface Stores {
  data: DataStore
  objects: ObjectStores
  queue: Queue
  close(): Promise<void>
}

/**
 * Opens the stores.
 *
 * @param attach whether to use the embedded database that another process has opened
 */
export async function openStores(config: Config, options: { attach: boolean }): Promise<Stores> {
  const objects = await openObjectStores(config)
  const data = await openDataStore(config, options)
  const queue = await openQueue(config, data)
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

async function openQueue({ queueUrl }: Config, data: DataStore): Promise<Queue> {
  if (!queueUrl) return createDatabaseQueue(data)
  // Loaded only if it is used: the NATS client needs 7 MB of memory.
  return (await import('./queue/jetstream.ts')).openJetStreamQueue(queueUrl, data)
}
