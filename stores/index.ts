import type { Config } from '../config.ts'
import { type DataStore, openDataStore } from './data/index.ts'
import { type ObjectStores, openObjectStores } from './objects/index.ts'
import { createDatabaseQueue } from './queue/database.ts'
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
  // Loaded where it is used: the client of NATS takes 7 MB of memory.
  return (await import('./queue/jetstream.ts')).openJetStreamQueue(queueUrl, data)
}
