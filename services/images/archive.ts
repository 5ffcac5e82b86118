import { once } from 'node:events'
import { PassThrough, type Readable } from 'node:stream'
import { ZipFile } from 'yazl'
import type { ImageFilter } from '../../schemas/images.ts'
import type { DataStore } from '../../stores/data/data-store.ts'
import type { Keyset } from '../../stores/data/keyset.ts'
import { ObjectNotFound } from '../../stores/objects/object-store.ts'
import { ImageGone } from '../errors.ts'
import { createArchiveNames } from './archive-names.ts'
import type { Images } from './index.ts'
import { toImageSearch } from './search.ts'

const PAGE = 100

/**
 * ZIP archives of images. The files are stored and not compressed, because images are compressed already. One image is read
 * at a time, while the client reads the archive. For each file the archive keeps its name, which it needs at its end.
 */
export function createArchives({ data, images }: { data: DataStore; images: Images }) {
  /** The images of a filter with their first names, newest first. Only those of the link, if the filter has one. */
  async function* entries(search: ReturnType<typeof toImageSearch>) {
    let after: Keyset | undefined
    do {
      const { items, next } = await data.images.page({ limit: PAGE, after, search })
      const ids = items.map(({ id }) => id)
      const names = await data.uploads.namesOf(ids, search.link)
      for (const row of items) yield { row, name: names.get(row.id) ?? '' }
      after = next
    } while (after)
  }

  async function open(id: string): Promise<Readable | undefined> {
    try {
      return (await images.inspect(id)).bytes
    } catch (error) {
      if (error instanceof ImageGone || error instanceof ObjectNotFound) return undefined
      throw error
    }
  }

  /** Adds all files. A file whose object is missing is named in a text file at the end, and the others are sent. */
  async function fill(zip: ZipFile, search: ReturnType<typeof toImageSearch>, end: AbortSignal) {
    const toName = createArchiveNames()
    const missing: string[] = []
    for await (const { row, name } of entries(search)) {
      if (end.aborted) return
      const safe = toName(name, row)
      const bytes = await open(row.id)
      if (!bytes) {
        missing.push(safe)
        continue
      }
      const stop = () => bytes.destroy()
      end.addEventListener('abort', stop)
      zip.addReadStream(bytes, safe, { compress: false, size: row.size, mtime: row.receivedAt })
      await once(bytes, 'close')
      end.removeEventListener('abort', stop)
    }
    if (missing.length > 0)
      zip.addBuffer(
        Buffer.from(`${missing.join('\r\n')}\r\n`),
        toName('missing.txt', { id: 'missing', mediaType: '' }),
        { compress: false },
      )
    zip.end()
  }

  return {
    /** Opens an archive of all images that match a filter. @throws {InvalidFilter} */
    open(filter: ImageFilter): Readable {
      const search = { ...toImageSearch(filter), isPresent: true }
      const output = new PassThrough()
      const zip = new ZipFile()
      const aborted = new AbortController()
      output.once('close', () => aborted.abort())
      zip.once('error', (error: Error) => output.destroy(error))
      zip.outputStream.pipe(output)
      fill(zip, search, aborted.signal).catch((error: Error) => output.destroy(error))
      return output
    },
  }
}
