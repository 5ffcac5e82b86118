import { createHash } from 'node:crypto'
import type { Test } from 'tap'
import { readConfig } from '../../../../config.ts'
import { newId } from '../../../../services/ids.ts'
import type { DataStore } from '../../../../stores/data/data-store.ts'
import { openDataStore } from '../../../../stores/data/index.ts'
import type { LinkRow } from '../../../../stores/data/interfaces/links.ts'
import { isRefusal, type NewImage, type Received } from '../../../../stores/data/interfaces/uploads.ts'
import type { PageOf, PageRequest } from '../../../../stores/data/keyset.ts'
import { retry } from '../../../../stores/data/retry.ts'
import { dataDirWithDatabase } from '../../../helpers/embedded.ts'
import { newFolder } from '../../../helpers/folder.ts'
import { newLink } from '../../../helpers/links.ts'

/** The data store of a test, and functions that fill it. */
export type Context = Awaited<ReturnType<typeof openContext>>

/** Opens a data store, and empties it before each test. */
export async function openContext(t: Test, env: Record<string, string>) {
  const DATA_DIR = env.DATABASE_URL ? newFolder(t) : await dataDirWithDatabase(t)
  const store = await openDataStore(readConfig({ DATA_DIR, ...env }), { attach: false })
  t.teardown(() => store.close())
  const { sql, links, uploads, imageLeases } = store
  return {
    ...store,
    store,

    insertLink: (limits: Partial<Pick<LinkRow, 'maxImages' | 'maxBytes' | 'expiresAt'>> = {}) =>
      links.insert(newLink(limits)),

    /** Records a part and returns the id of its image. */
    async record(link: LinkRow, content: string, image = newImage()) {
      const recorded = await uploads.record(part(link, content), image)
      if (isRefusal(recorded)) throw new Error(recorded)
      return recorded.id
    },

    async leaseOne(milliseconds = 60_000) {
      // A ready image waits too, to be verified. Here each has been.
      await retry(() => sql`update images set due_at = null where status = 'ready'`)
      return (await imageLeases.lease({ token: newId(), limit: 1, milliseconds }))[0]!
    },
  }
}

export const hashOf = (text: string) => createHash('sha256').update(text).digest('hex')

export const atOnce = <T>(count: number, work: (n: number) => Promise<T>) =>
  Promise.all(Array.from({ length: count }, (_, n) => work(n)))

export const countOf = <T>(items: T[], is: (item: T) => boolean) => items.filter(is).length

export const ids = (items: readonly { id: string }[]) => items.map(({ id }) => id)

export const part = (
  link: LinkRow,
  content: string,
  { name = '', size = content.startsWith('new') ? 10 * content.length : 10 } = {},
): Received => ({ link, startedAt: new Date(), name, hash: hashOf(content), size })

export const newImage = (
  status: NewImage['status'] = 'ready',
  { format = 'JPEG', cameraModel }: { format?: string; cameraModel?: string } = {},
): NewImage => ({
  id: newId(),
  status,
  metadata: { format, mediaType: `image/${format.toLowerCase()}`, ...(cameraModel && { cameraModel }) },
})

/** Reads a list to its end. */
export async function allPages<Row>(read: (request: PageRequest) => Promise<PageOf<Row>>, limit: number) {
  const pages: Row[][] = []
  let after: PageRequest['after']
  do {
    const page: PageOf<Row> = await read({ limit, after })
    pages.push(page.items)
    after = page.next
  } while (after)
  return pages
}

export const dayOf = (time: Date) => time.toISOString().slice(0, 10)

/** The counts that differ from a recount of the uploads. */
export async function countDrift({ sql }: DataStore) {
  const uploads = await sql<
    {
      linkId: string
      receivedAt: Date
      status: string
      formerStatus: string | null
      format: string
      cameraModel: string | null
      size: number
    }[]
  >`
    select link_id, uploads.received_at, images.status, format, size,
      coalesce(removed_cameras.camera_model, images.camera_model) as camera_model,
      removed_cameras.status as former_status
    from uploads join images on images.id = image_id
      left join removed_cameras on removed_cameras.image_id = images.id`
  const counts = await sql<{ name: string; uploads: number; bytes: number }[]>`
    select kind || ' ' || key as name, sum(uploads)::bigint as uploads, sum(bytes)::bigint as bytes
    from upload_counts group by kind, key having sum(uploads) <> 0 or sum(bytes) <> 0`
  const images = await sql<{ location: string; size: number }[]>`
    select tier || ' ' || region as location, size from images where removed_at is null`

  const expected = new Map<string, { uploads: number; bytes: number }>()
  const add = (name: string, size: number) => {
    const { uploads, bytes } = expected.get(name) ?? { uploads: 0, bytes: 0 }
    expected.set(name, { uploads: uploads + 1, bytes: bytes + size })
  }
  for (const { linkId, receivedAt, status, formerStatus, format, cameraModel, size } of uploads) {
    add(`link ${linkId}`, size)
    if (status === 'rejected') continue
    add(`day ${dayOf(receivedAt)}`, size)
    if (status === 'pending' || status === 'corrupt' || formerStatus === 'corrupt') continue
    add(`format ${format}`, size)
    add(`model ${cameraModel ?? ''}`, size)
  }
  for (const { location, size } of images) add(`location ${location}`, size)
  const found = new Map(counts.map(({ name, uploads, bytes }) => [name, { uploads, bytes }]))
  return [...new Set([...expected.keys(), ...found.keys()])]
    .map((name) => ({ name, expected: expected.get(name), found: found.get(name) }))
    .filter(({ expected, found }) => expected?.uploads !== found?.uploads || expected?.bytes !== found?.bytes)
}
