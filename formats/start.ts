import type { Metadata } from '../schemas/images.ts'
import type { Format } from './format.ts'
import { type Source, withBytes } from './headers/bytes.ts'
import { readExif } from './headers/exif.ts'
import { readJpegStart, START_BYTES } from './headers/jpeg-header.ts'
import { mayAddTags } from './headers/xmp-packet.ts'
import { toMetadata } from './to-metadata.ts'

export { START_BYTES }

/**
 * Reads the metadata of an image from its first `START_BYTES`; undefined if the rest of the file can have more.
 *
 * @param front `START_BYTES`, or more
 */
export async function readStart(front: Source, { format, mediaType }: Format): Promise<Metadata | undefined> {
  if (format !== 'JPEG') return undefined
  const header = await withBytes(front, readJpegStart)
  if (!header) return undefined
  // XML is parsed only in a sandboxed process.
  const { exif, xmp } = header
  if (xmp && mayAddTags(xmp, exif ? await readExif(exif) : {})) return undefined
  return toMetadata(header, mediaType)
}
