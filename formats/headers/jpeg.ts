import type { Bytes } from './bytes.ts'
import type { Header, HeaderReader } from './header.ts'
import { chooseExif, exifBlocks, parseJpeg, START, START_BYTES, toHeader } from './jpeg-header.ts'
import { readBySharp } from './sharp.ts'

const FRONT_BYTES = 2 ** 18

/** The header of a JPEG is before its first scan. libvips would search a whole file for a gain map. */
export const readJpeg: HeaderReader = async ({ bytes, source }) =>
  (await readJpegFront(bytes)) ?? (bytes.size > FRONT_BYTES ? readBySharp(source) : undefined)

/**
 * Reads the header of a JPEG in the first 256 KiB; undefined if it is not there. libvips reads an
 * unusual header, because it has the tolerance of libjpeg.
 */
export async function readJpegFront(bytes: Bytes): Promise<Header | undefined> {
  const found =
    parseJpeg(await bytes.read(0, START_BYTES)) ??
    (bytes.size > START_BYTES ? parseJpeg(await bytes.read(0, FRONT_BYTES)) : undefined)
  if (found && !(found.multiPicture && hasImage(await bytes.read(0, FRONT_BYTES), found.end)))
    return toHeader(found)
  const front = await bytes.read(0, FRONT_BYTES)
  const header = await readBySharp(front)
  return header && { ...header, exif: await chooseExif(exifBlocks(front)) }
}

/** libvips takes a JPEG with a directory of pictures and a further picture for Ultra HDR, and reads no XMP of it. */
const hasImage = (front: Buffer, from: number) => front.includes(START, from)
