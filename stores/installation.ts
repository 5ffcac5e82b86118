import { nanoid } from 'nanoid'
import type { DataStore } from './data/data-store.ts'
import { describeLocation, type LocatedStore, type ObjectStores } from './objects/index.ts'
import { hasCheck } from './objects/object-store.ts'
import { StoreUnavailable } from './unavailable.ts'

/** The database and an object store do not belong together. The message says what to do. */
export class WrongStore extends Error {
  override name = 'WrongStore'
}

type Data = Pick<DataStore, 'installation' | 'lifecycle'>

/**
 * Checks that the database and all object stores belong to one installation: each has its id. At the first start, the id is
 * written to the database and to the stores. A process that uses a database with foreign objects would take them for
 * orphans and delete them.
 *
 * @throws {WrongStore}
 * @throws {StoreUnavailable} a store can't be read: it is not known whether it is the right one
 */
export async function checkInstallation(data: Data, objects: Pick<ObjectStores, 'all'>): Promise<void> {
  const found = await Promise.all(
    objects.all.map(async (located) => ({ ...located, id: await located.store.readInstallation() })),
  )
  const known = await data.installation.read()
  const owned = found.find(({ id }) => id !== undefined)
  if (known === undefined && owned) throw new WrongStore(newDatabase(owned))
  const id = known ?? (await data.installation.create(nanoid()))
  for (const store of found) {
    if (store.id === id) continue
    if (store.id !== undefined) throw new WrongStore(foreignStore(store))
    if (known !== undefined && (await data.lifecycle.hasImages(store.location)))
      throw new WrongStore(emptyStore(store))
    await store.store.writeInstallation(id)
  }
}

/** Does the same when a process starts. A store that does not respond is not a reason to end: it is checked by each sweep. */
export async function checkAtStart(data: Data, objects: Pick<ObjectStores, 'all'>): Promise<void> {
  try {
    for (const { store } of objects.all) if (hasCheck(store)) await store.check()
    await checkInstallation(data, objects)
  } catch (error) {
    if (!(error instanceof StoreUnavailable)) throw error
    process.emitWarning(`The object stores could not be checked. ${error.message}`)
  }
}

/**
 * Makes the installation of the database the owner of all object stores, and a new database a part of the installation of
 * the stores.
 */
export async function adoptStores(data: Data, objects: Pick<ObjectStores, 'all'>): Promise<string> {
  const ids = await Promise.all(objects.all.map(({ store }) => store.readInstallation()))
  const id = await data.installation.create(ids.find((id) => id !== undefined) ?? nanoid())
  for (const { store } of objects.all) await store.writeInstallation(id)
  return id
}

const ADOPT =
  'To use them together anyway, run: npm run migrate -- --adopt-stores. Then check with: npm run sweep -- --dry-run.'

const newDatabase = ({ location }: LocatedStore) =>
  `The database is new, but the store of ${describeLocation(location)} belongs to an installation that exists. ` +
  'Check DATABASE_URL (or DATA_DIR). If the database was lost, restore its backup. ' +
  ADOPT

const foreignStore = ({ location }: LocatedStore) =>
  `The store of ${describeLocation(location)} belongs to another installation than the database. ` +
  'Check DATABASE_URL and the URL of the store. ' +
  ADOPT

const emptyStore = ({ location }: LocatedStore) =>
  `The database has images in the store of ${describeLocation(location)}, but that store is empty or new. ` +
  'Check that its volume is mounted, and the URL of the store. ' +
  `If the objects were moved here, run: npm run migrate -- --adopt-stores.`
