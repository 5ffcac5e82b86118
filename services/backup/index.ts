import { rm } from 'node:fs/promises'
import type { DumpedRows } from '../../stores/data/interfaces/dump.ts'
import type { LiveImage } from '../../stores/data/interfaces/lifecycle.ts'
import type { Stores } from '../../stores/index.ts'
import { adoptStores } from '../../stores/installation.ts'
import { ObjectNotFound, type ObjectStore } from '../../stores/objects/object-store.ts'
import { BadBackup, openFile, readDump, writeDump } from './dump-file.ts'
import { copyChecked, inParallel } from './objects.ts'

const PARALLEL = 8
const NAME = /^backup\d{8}T\d{9}Z$/
/** The name under which the last backup is recorded, for `hasty doctor`. */
export const BACKUP_JOB = 'backup'

/** The installation into which a backup is restored has data already. */
export class NotEmpty extends Error {
  override name = 'NotEmpty'
}

export interface BackupResult {
  /** The name of the backup in its folder or bucket. */
  name: string
  rows: number
  images: number
  /** Objects that earlier backups did not have. */
  copied: number
  bytes: number
  /** Ids of images whose object is missing or damaged in the stores. */
  missing: string[]
  damaged: string[]
}

type Progress = (done: number) => void

/**
 * Makes a backup while the service runs. First the state of the database at one moment is read, then the objects of its
 * images are copied, unless an earlier backup in `target` has them. The database's file is written last: a backup that has
 * it is complete. An image that is answered before the call is in it.
 */
export async function backUp(
  { data, objects }: Stores,
  target: ObjectStore,
  { onProgress = () => {} }: { onProgress?: Progress } = {},
): Promise<BackupResult> {
  await openTarget(target, `backup-${await data.installation.read()}`)
  const name = `backup${new Date().toISOString().replace(/[-:.]/g, '')}`
  const dump = await writeDump(data.dump.read())
  const result: BackupResult = {
    name,
    rows: dump.rows,
    images: 0,
    copied: 0,
    bytes: 0,
    missing: [],
    damaged: [],
  }
  try {
    const known = await keysOf(target)
    await inParallel(imagesOf(readDump(openFile(dump.path))), PARALLEL, async (image) => {
      onProgress(++result.images)
      if (known.has(image.id)) return
      const outcome = await copyChecked(image, objects.of(image.region), target)
      if (outcome === 'copied') {
        result.copied++
        result.bytes += image.size
        return
      }
      // The image may have been removed since the state was read.
      if ((await data.lifecycle.find([image.id])).length > 0) result[outcome].push(image.id)
    })
    await (await target.stage(name, openFile(dump.path))).commit()
  } finally {
    await rm(dump.path, { force: true })
  }
  await data.jobState.save(BACKUP_JOB, { name, images: result.images })
  return result
}

/** A folder or bucket belongs to the backups of one installation, and can't be used as an object store. */
async function openTarget(target: ObjectStore, id: string) {
  const found = await target.readInstallation()
  if (found === undefined) await target.writeInstallation(id)
  else if (found !== id)
    throw new BadBackup(
      'The folder or bucket belongs to another installation. Use an empty one for these backups.',
    )
}

async function keysOf(target: ObjectStore) {
  const keys = new Set<string>()
  for await (const { key } of target.list()) keys.add(key)
  return keys
}

async function* imagesOf(dump: AsyncIterable<DumpedRows>): AsyncGenerator<LiveImage> {
  for await (const { table, rows } of dump) {
    if (table !== 'images') continue
    for (const image of rows.map((row) => JSON.parse(row))) if (image.removed_at === null) yield image
  }
}

/** The names of the backups in a folder or bucket, the newest first. */
export async function listBackups(source: ObjectStore): Promise<string[]> {
  return [...(await keysOf(source))]
    .filter((key) => NAME.test(key))
    .sort()
    .reverse()
}

export interface RestoreResult {
  name: string
  rows: number
  images: number
  copied: number
  /** Ids of images whose object is missing or damaged in the backup. */
  missing: string[]
  damaged: string[]
}

/**
 * Restores a backup into an empty installation. The objects are copied before the rows are written, in one transaction. So
 * an interrupted restore can be started again. Objects that the stores have already are not copied.
 *
 * @param stores opened without the check of the installation
 * @param name the newest one by default
 * @throws {NotEmpty | BadBackup}
 */
export async function restore(
  { data, objects }: Stores,
  source: ObjectStore,
  { name, onProgress = () => {} }: { name?: string | undefined; onProgress?: Progress } = {},
): Promise<RestoreResult> {
  if (!(await data.dump.isEmpty()))
    throw new NotEmpty(
      'The database has images or links. Restore into a new database: set another DATA_DIR or DATABASE_URL.',
    )
  const [newest] = await listBackups(source)
  const chosen = name ?? newest
  if (!chosen) throw new BadBackup('There is no complete backup. Check the folder or the bucket.')
  const open = async () => readDump(await findDump(source, chosen))
  await adoptStores(data, objects)
  const result: RestoreResult = { name: chosen, rows: 0, images: 0, copied: 0, missing: [], damaged: [] }
  await inParallel(imagesOf(await open()), PARALLEL, async (image) => {
    onProgress(++result.images)
    const to = objects.at({ ...image, tier: tierOf(objects, image) })
    if (await hasObject(to, image)) return
    const outcome = await copyChecked(image, [source], to)
    if (outcome === 'copied') result.copied++
    else result[outcome].push(image.id)
  })
  await data.dump.write(counting(withTiers(await open(), objects), (rows) => (result.rows += rows)))
  return result
}

async function findDump(source: ObjectStore, name: string) {
  return source.get(name).catch((error) => {
    if (error instanceof ObjectNotFound) throw new BadBackup(`There is no backup with the name ${name}.`)
    throw error
  })
}

/** An archived image goes to the hot store if the new installation has no archive. */
const tierOf = ({ archiving }: Stores['objects'], { region, tier }: Pick<LiveImage, 'region' | 'tier'>) =>
  tier === 'cold' && !archiving.includes(region) ? 'hot' : tier

async function* withTiers(dump: AsyncIterable<DumpedRows>, objects: Stores['objects']) {
  for await (const { table, rows } of dump) {
    if (table !== 'images') yield { table, rows }
    else {
      const images = rows.map((row) => JSON.parse(row))
      yield { table, rows: images.map((image) => JSON.stringify({ ...image, tier: tierOf(objects, image) })) }
    }
  }
}

async function* counting(dump: AsyncIterable<DumpedRows>, add: (rows: number) => void) {
  for await (const some of dump) {
    add(some.rows.length)
    yield some
  }
}

async function hasObject(store: ObjectStore, { id, size }: LiveImage) {
  return store.size(id).then(
    (found) => found === size,
    (error) => {
      if (error instanceof ObjectNotFound) return false
      throw error
    },
  )
}
