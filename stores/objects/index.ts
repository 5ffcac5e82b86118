import type { Config } from '../../config.ts'
import type { Place, Tier } from '../places.ts'
import { createFileStore } from './file.ts'
import type { ObjectStore } from './object-store.ts'

/** The object stores: of each region a hot one, and a cold one where it archives. */
export interface ObjectStores {
  /** The names of the regions, that of `OBJECT_STORE_URL` being empty. What names no region goes into the first. */
  regions: readonly string[]
  /** The regions that have a cold store. */
  archiving: readonly string[]
  /** Every store, with its place. */
  all: readonly PlacedStore[]
  /** The stores of a region, for what may lie in either. */
  of(region: string): ObjectStore[]
  /** The store of a place; undefined where none is configured. */
  find(place: Place): ObjectStore | undefined
  /** The store of a place. @throws where none is configured: it was, when something was put there */
  at(place: Place): ObjectStore
}

/** An object store, and of what place it is. */
export interface PlacedStore {
  place: Place
  store: ObjectStore
}

/** Opens the object stores; a URL's scheme chooses the adapter. */
export async function openObjectStores({ regions }: Pick<Config, 'regions'>): Promise<ObjectStores> {
  const all: PlacedStore[] = []
  for (const { name, hot, cold } of regions) {
    all.push({ place: { region: name, tier: 'hot' }, store: await openObjectStore(hot) })
    if (cold) all.push({ place: { region: name, tier: 'cold' }, store: await openObjectStore(cold) })
  }
  return createObjectStores(all)
}

/** The stores, found by their places. */
export function createObjectStores(all: readonly PlacedStore[]): ObjectStores {
  const regionsWith = (tier: Tier) =>
    all.filter(({ place }) => place.tier === tier).map(({ place }) => place.region)
  const find = ({ region, tier }: Place) =>
    all.find(({ place }) => place.region === region && place.tier === tier)?.store
  return {
    regions: regionsWith('hot'),
    archiving: regionsWith('cold'),
    all,
    of: (region) => all.filter(({ place }) => place.region === region).map(({ store }) => store),
    find,
    at(place) {
      const store = find(place)
      if (!store) throw new Error(`no store is configured for ${describePlace(place)}`)
      return store
    },
  }
}

const describePlace = ({ region, tier }: Place) =>
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
