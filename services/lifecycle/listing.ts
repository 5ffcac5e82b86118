import { BloomFilter } from 'mnemonist'
import type { StoreUse } from '../../schemas/storage.ts'
import type { LiveImage } from '../../stores/data/interfaces/lifecycle.ts'
import type { Stores } from '../../stores/index.ts'
import { INCOMING, type StoredObject, TRASH } from '../../stores/objects/object-store.ts'
import type { StorageLocation } from '../../stores/storage-location.ts'
import { isId, newId } from '../ids.ts'
import { isVariantKey } from '../variants/keys.ts'
import { BATCH, inBatches, LIMIT, rowsOf, type SweepContext } from './sweep-context.ts'

/** The filter needs 10 bits for each image: 25 MB at most. With more images, more missing objects are overlooked. */
const FILTER_CAPACITY = 20_000_000

/** An object that should not be in its store. */
export interface Stray {
  kind: 'orphans' | 'leftovers' | 'copies' | 'variants'
  location: StorageLocation
  key: string
}

/** An object in the trash. */
export interface Trashed {
  location: StorageLocation
  /** The key that it had: the id of an image. */
  id: string
  /** Whether TRASH_FOR is over. */
  isExpired: boolean
  /** The image that it belongs to, if there is one. */
  row: LiveImage | undefined
}

/** The result of listing all stores. Lists are cut at `LIMIT`; the next sweep continues. */
export interface Listing {
  strays: Stray[]
  trash: Trashed[]
  /** How many objects older than SWEEP_GRACE have no image. */
  orphans: number
  /** How many objects are where the rows of their images say. */
  owned: number
  /** What each store has. */
  use: StoreUse[]
  /** Whether the object of this image may have been listed; false is certain. */
  mayHave(id: string): boolean
}

/** Lists the stores in batches and asks the database for each batch. Only the objects to be changed are kept in memory. */
export async function listStores(context: SweepContext): Promise<Listing> {
  const { stores, config, summary, check } = context
  const { lifecycle } = stores.data
  const now = (await lifecycle.now()).getTime()
  const filter = new BloomFilter({
    capacity: Math.min(Math.max(await lifecycle.count(), BATCH), FILTER_CAPACITY),
    errorRate: 0.01,
  })
  // With another salt, each sweep overlooks other images.
  const salt = newId().slice(0, 8)
  const listing: Listing = {
    strays: [],
    trash: [],
    orphans: 0,
    owned: 0,
    use: [],
    mayHave: (id) => filter.test(salt + id),
  }
  const isOlder = ({ modifiedAt }: StoredObject, age: number) => modifiedAt.getTime() < now - age

  for (const { location, store } of stores.objects.all) {
    const use = { ...location, ...EMPTY_STORE }
    listing.use.push(use)
    for await (const batch of inBatches(store.list(), BATCH)) {
      check()
      summary.objects += batch.length
      const rows = await rowsOf(stores, batch.map(({ key }) => idOf(key)).filter(isId))
      const variants = await liveVariants(
        stores,
        location,
        batch.map(({ key }) => key),
      )
      for (const object of batch) {
        const { key } = object
        const id = idOf(key)
        const row = rows.get(id)
        addUse(use, object, isIn(location, row) || variants.has(key))
        if (key.startsWith(TRASH)) {
          const isExpired = isOlder(object, config.trashFor)
          if (isId(id) && listing.trash.length < LIMIT) listing.trash.push({ location, id, isExpired, row })
        } else if (isIn(location, row)) {
          listing.owned++
          filter.add(salt + id)
        } else if (!variants.has(key) && isOlder(object, config.sweepGrace)) {
          const kind = kindOf(key, row)
          if (kind === 'orphans') listing.orphans++
          if (kind && listing.strays.length < LIMIT) listing.strays.push({ kind, location, key })
        }
      }
    }
  }
  return listing
}

const EMPTY_STORE = {
  objects: 0,
  bytes: 0,
  trashObjects: 0,
  trashBytes: 0,
  otherObjects: 0,
  otherBytes: 0,
}

function addUse(use: StoreUse, { key, size }: StoredObject, isOwned: boolean) {
  if (key.startsWith(TRASH)) {
    use.trashObjects++
    use.trashBytes += size
  } else if (isOwned) {
    use.objects++
    use.bytes += size
  } else {
    use.otherObjects++
    use.otherBytes += size
  }
}

/** Those of the keys whose variants are in use. Variants are only in hot stores. */
export async function liveVariants({ data }: Stores, { tier }: StorageLocation, keys: string[]) {
  const ofVariants = tier === 'hot' ? keys.filter(isVariantKey) : []
  return new Set(ofVariants.length > 0 ? await data.variants.live(ofVariants) : [])
}

const idOf = (key: string) => (key.startsWith(TRASH) ? key.slice(TRASH.length) : key)

/** Whether the row says that its object is there. */
export const isIn = ({ region, tier }: StorageLocation, row: LiveImage | undefined) =>
  row?.region === region && row.tier === tier

/** Undefined for an object that is not Hasty's. */
function kindOf(key: string, row: LiveImage | undefined): Stray['kind'] | undefined {
  if (key.startsWith(INCOMING)) return 'leftovers'
  if (isVariantKey(key)) return 'variants'
  if (!isId(key)) return undefined
  return row ? 'copies' : 'orphans'
}
