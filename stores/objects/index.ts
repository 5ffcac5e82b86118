import type { Config } from '../../config.ts'
import type { StorageLocation, Tier } from '../storage-location.ts'
import { createFileStore } from './file.ts'
import type { ObjectStore } from './object-store.ts'

/** The object stores: of each region a hot one, and a cold one where it archives. */
export interface ObjectStores {
  /** The names of the regions, that of `OBJECT_STORE_URL` being empty. What names no region goes into the first. */
  regions: readonly string[]
  /** The regions that have a cold store. */
  archiving: readonly string[]
  /** Every store, with its location. */
  all: readonly PlacedStore[]
  /** The stores of a region, for what may lie in either. */
  of(region: string): ObjectStore[]
  /** The store of a place; undefined where none is configured. */
  find(location: StorageLocation): ObjectStore | undefined
  /** The store of a location. @throws where none is configured: it was, when something was put there */
  at(location: StorageLocation): ObjectStore
}

/** An object store, and of what place it is. */
export interface PlacedStore {
  location: StorageLocation
  store: ObjectStore
}

/** Opens the object stores; a URL's scheme chooses the adapter. */
export async function openObjectStores({ regions }: Pick<Config, 'regions'>): Promise<ObjectStores> {
  const all: PlacedStore[] = []
  for (const { name, hot, cold } of regions) {
    all.push({ location: { region: name, tier: 'hot' }, store: await openObjectStore(hot) })
    if (cold) all.push({ location: { region: name, tier: 'cold' }, store: await openObjectStore(cold) })
  }
  return createObjectStores(all)
}

/** The stores, found by their places. */
export function createObjectStores(all: readonly PlacedStore[]): ObjectStores {
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
      if (!store) throw new Error(`no store is configured for ${describeLocation(location)}`)
      return store
    },
  }
}

const describeLocation = ({ region, tier }: StorageLocation) =>
  `${tier === 'hot' ? 'objects' : 'archived objects'}${region && ` of the region ${region}`}`

async function openObjectStore(url: URL): Promise<ObjectStore> {
  switch (url.protocol) {
    case 'file:':
      return createFileStore(url)
    case 's3:':
      // Loaded where it is used: the AWS SDK takes 36 MB of memory.
      return (await import('./s3/index.ts')).createS3Store(url)
    default:
      throw new Error(`there is no object store for ${url.protocol}`)
  }
}
