import { type Bytes, bytesOf } from './bytes.ts'
import { type ExifPosition, orientationsOf, orients } from './orientation.ts'
import { dateTime, degrees, type FoundTags, height, location, offset } from './tags.ts'
import { cleanText } from './text.ts'
import { type Directory, openExif, type Tiff } from './tiff.ts'

/** The directories of Exif (CIPA DC-008). */
export interface ExifDirectories {
  main?: Directory | undefined
  exif?: Directory | undefined
  gps?: Directory | undefined
  /** Interoperability. */
  interop?: Directory | undefined
  /** Whether browsers turn the picture by the orientation of `main`. Absent: they do. */
  orients?: boolean
}

const MAX_TEXT_BYTES = 1024

/** Follows the pointers from the first directory of a TIFF block to those of Exif and GPS (CIPA DC-008). */
export async function exifDirectories(tiff: Tiff | undefined): Promise<ExifDirectories> {
  const main = await tiff?.directory(tiff.first)
  const follow = async (from: Directory | undefined, tag: number) => {
    const [offset] = (await from?.numbers(tag)) ?? []
    return offset === undefined ? undefined : tiff?.directory(offset)
  }
  const exif = await follow(main, 0x8769)
  return { main, exif, gps: await follow(main, 0x8825), interop: await follow(exif, 0xa005) }
}

/** Opens a block of Exif; undefined if it has no directory that can be read. */
export async function openBlock(
  block: Bytes | Buffer,
  position: Omit<ExifPosition, 'tiffAt'>,
): Promise<ExifDirectories | undefined> {
  const opened = await openExif(Buffer.isBuffer(block) ? bytesOf(block) : block)
  if (!opened) return undefined
  const directories = await exifDirectories(opened.tiff)
  if (!directories.main) return undefined
  return { ...directories, orients: orients({ ...position, tiffAt: opened.tiffAt }) }
}

/** Reads the tags of Exif and GPS (CIPA DC-008). A tag that cannot be read, or has a wrong type, is absent. */
export async function readExif({
  main,
  exif,
  gps,
  interop,
  orients = true,
}: ExifDirectories): Promise<FoundTags> {
  const [orientation] = orients ? await orientationsOf(main) : []
  const [colourSpace] = (await exif?.numbers(0xa001)) ?? []
  return {
    orientation,
    cameraMake: (await text(main, 0x010f)) ?? (await text(exif, 0x010f)),
    cameraModel: (await text(main, 0x0110)) ?? (await text(exif, 0x0110)),
    lens: await text(exif, 0xa434),
    // TIFF/EP has the time in the first directory. Raw formats follow it.
    ...(await readTime(exif?.has(0x9003) ? exif : main)),
    ...location(await coordinate(gps, 2, /^[NS]/i), await coordinate(gps, 4, /^[EW]/i)),
    altitude: await readAltitude(gps),
    // Exif has no number for Adobe RGB: cameras name DCF's optional file instead, and some write 2.
    colourSpace: colourSpace === 2 || (await text(interop, 1)) === 'R03' ? 'Adobe RGB (1998)' : undefined,
  }
}

const BYTE = 1
const ASCII = 2
const RATIONAL = 5
const UNDEFINED = 7
const SRATIONAL = 10
const UTF8 = 129
// Some writers use BYTE or UNDEFINED for text.
const TEXT_TYPES = new Set([BYTE, ASCII, UNDEFINED, UTF8])

async function text(directory: Directory | undefined, tag: number) {
  return directory && TEXT_TYPES.has(directory.type(tag) ?? 0)
    ? cleanText(await directory.bytes(tag, MAX_TEXT_BYTES))
    : undefined
}

async function readTime(directory: Directory | undefined) {
  const { time, zone } = dateTime(await text(directory, 0x9003))
  return { takenAt: time, takenOffset: offset(await text(directory, 0x9011)) ?? zone }
}

/** A coordinate of a GPS directory. The tag before it has the side. Some writers use text for the numbers. */
async function coordinate(gps: Directory | undefined, tag: number, sides: RegExp) {
  const side = sides.exec((await text(gps, tag - 1)) ?? '')?.[0]
  return degrees(await fractions(gps, tag, 3), side)
}

const NUMBER = /(-?\d+(?:\.\d+)?)(?:\/(\d+(?:\.\d+)?))?/.source
// Degrees, minutes and seconds, with at most a comma, blanks or a symbol between them.
const NUMBERS_AS_TEXT = new RegExp(
  `^${NUMBER}(?:[\\s,;:°'"′″]+${NUMBER})?(?:[\\s,;:°'"′″]+${NUMBER})?[\\s°'"′″]*$`,
)

async function fractions(directory: Directory | undefined, tag: number, max: number): Promise<number[]> {
  switch (directory?.type(tag)) {
    case RATIONAL:
    case SRATIONAL:
      return directory.numbers(tag, max)
    case ASCII:
    case UTF8: {
      const [, ...parts] = NUMBERS_AS_TEXT.exec((await text(directory, tag)) ?? '') ?? []
      const numbers = [0, 2, 4].map((i) => Number(parts[i]) / Number(parts[i + 1] ?? 1))
      return numbers.slice(0, max).filter((_, i) => parts[2 * i] !== undefined)
    }
    default:
      return []
  }
}

async function readAltitude(gps: Directory | undefined) {
  const [metres] = await fractions(gps, 6, 1)
  const type = gps?.type(5)
  const [reference = 0] =
    type === ASCII ? [Number(await text(gps, 5)) || 0] : type ? await gps!.numbers(5) : []
  return height(metres, reference)
}
