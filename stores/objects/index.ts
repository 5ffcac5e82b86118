import type { Config } from '../../config.ts'
import type { StorageLocation, Tier } from '../storage-location.ts'
import { createFileStore } from './file/index.ts'
import type { ObjectStore } from './object-store.ts'
import { createMemoryBudget, type MemoryBudget } from './s3/memory.ts'

/** The object stores: a hot one for each region, and a cold one for each region that archives. */
export interface ObjectStores {
  /** The names of the regions. The name of `OBJECT_STORE_URL` is empty. A link without a region uses the first. */
  regions: readonly string[]
  /** The regions that have a cold store. */
  archiving: readonly string[]
  /** All stores, with their locations. */
  all: readonly LocatedStore[]
  /** The hot and the cold store of a region, for an object that may be in either. */
  of(region: string): ObjectStore[]
  /** The store of a location; undefined if none is configured. */
  find(location: StorageLocation): ObjectStore | undefined
  /** The store of a location. @throws if none is configured, although an image is stored there */
  at(location: StorageLocation): ObjectStore
}

/** An object store and its location. */
export interface LocatedStore {
  location: StorageLocation
  store: ObjectStore
}

/** Opens the object stores. A URL's scheme selects the adapter. */
export async function openObjectStores({ regions }: Pick<Config, 'regions'>): Promise<ObjectStores> {
  // One budget for all stores of the process.
  const memory = createMemoryBudget()
  const all: LocatedStore[] = []
  for (const { name, hot, cold } of regions) {
    all.push({ location: { region: name, tier: 'hot' }, store: await openObjectStore(hot, memory) })
    if (cold)
      all.push({ location: { region: name, tier: 'cold' }, store: await openObjectStore(cold, memory) })
  }
  return createObjectStores(all)
}

/** Finds stores by their locations. */
export function createObjectStores(all: readonly LocatedStore[]): ObjectStores {
  const regionsWith = (tier: Tier) =>
    all.filter(({ location }) => location.tier === tier).map(({ location }) => location.region)
  const find = ({ region, tier }: StorageLocation) =>
    all.find(({ location }) => location.region === region && location.tier === tier)?.store
  return {
    regions: regionsWith('hot'),
    archiving: regionsWith('cold'),
    all,
    of: (region) => all.filter(({ location }) => location.region === region).map(({ store }) => store),
    find,
    at(location) {
      const store = find(location)
      if (!store) throw new Error(`No store is configured for ${describeLocation(location)}.`)
      return store
    },
  }
}

/** The location in words, for messages. */
export const describeLocation = ({ region, tier }: StorageLocation) =>
  `${tier === 'hot' ? 'objects' : 'archived objects'}${region && ` of the region ${region}`}`

/** Opens one object store. A URL's scheme selects the adapter. */
export async function openObjectStore(
  url: URL,
  memory: MemoryBudget = createMemoryBudget(),
): Promise<ObjectStore> {
  switch (url.protocol) {
    case 'file:':
      return createFileStore(url)
    case 's3:':
      // Loaded only if it is used: the AWS SDK needs 36 MB of memory.
      return (await import('./s3/index.ts')).createS3Store(url, { memory })
    default:
      throw new Error(`There is no object store for ${url.protocol} URLs.`)
  }
}
