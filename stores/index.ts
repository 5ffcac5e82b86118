import type { Config } from '../config.ts'
import type { DataStore } from './data/data-store.ts'
import { openDataStore } from './data/index.ts'
import { checkAtStart } from './installation.ts'
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
 * Opens the stores and checks that they belong together.
 *
 * @param attach whether to use the embedded database that another process has opened
 * @param check called before the stores are used
 * @throws {WrongStore}
 */
export async function openStores(
  config: Config,
  { check = checkAtStart, ...options }: { attach: boolean; check?: typeof checkAtStart },
): Promise<Stores> {
  const { objects, data } = await openBoth(config, options)
  try {
    await check(data, objects)
  } catch (error) {
    await data.close()
    throw error
  }
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

async function openBoth(config: Config, options: { attach: boolean }) {
  const objects = await openObjectStores(config)
  const data = await openDataStore(config, options)
  if (!config.tracing) return { objects, data }
  const { traceDataStore, traceObjectStores } = await import('./trace-calls.ts')
  return { objects: traceObjectStores(objects), data: traceDataStore(data) }
}

async function openQueue({ queueUrls }: Config, data: DataStore): Promise<Queue> {
  if (!queueUrls) return createDatabaseQueue(data)
  // Loaded only if it is used: the NATS client needs 7 MB of memory.
  return (await import('./queue/jetstream.ts')).openJetStreamQueue(queueUrls, data)
}
