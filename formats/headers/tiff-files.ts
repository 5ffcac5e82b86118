import type { Bytes } from './bytes.ts'
import { exifDirectories } from './exif.ts'
import { type Header, type HeaderReader, MAX_BLOCK_BYTES } from './header.ts'
import { cleanText } from './text.ts'
import { type Directory, openTiff, type Tiff } from './tiff.ts'

// A file with more pages is reported with this number.
const MAX_PAGES = 10_000
const MAX_SUB_DIRECTORIES = 16
const SUB_DIRECTORIES = 330

/** A picture of a file: a page, or a smaller or a raw version of one. */
interface Picture {
  directory: Directory
  width: number
  height: number
  /** Not full size: a thumbnail or a level of a pyramid. */
  reduced: boolean
  photometric: number | undefined
  compression: number | undefined
}

// Values of PhotometricInterpretation and Compression that only raw pictures have.
const COLOUR_FILTER_ARRAY = 32803
const SONY = 32767
const NIKON = 34713

/**
 * The media type of a file that begins like a TIFF. Raw formats are known by their tags.
 *
 * @param guess the media type by the first bytes, which is returned if the tags cannot be read
 */
export async function tiffMediaType(bytes: Bytes, guess: string): Promise<string> {
  if (SELF_EVIDENT.has(guess)) return guess
  const tiff = await openTiff(bytes)
  const main = await tiff?.directory(tiff.first)
  if (!tiff || !main) return guess
  return byTags(main, await readPictures(tiff), guess)
}

// These formats have a mark of their own in the TIFF header.
const SELF_EVIDENT = new Set(['image/x-canon-cr2', 'image/x-olympus-orf', 'image/x-panasonic-rw2'])

async function byTags(main: Directory, pictures: Picture[], guess: string) {
  if (main.has(0xc612)) return 'image/x-adobe-dng' // DNGVersion
  const make = cleanText(await main.bytes(0x010f, 64))
  const raw = (compression: number) =>
    pictures.some(
      (picture) => picture.photometric === COLOUR_FILTER_ARRAY || picture.compression === compression,
    )
  if (make && /^nikon/i.test(make) && raw(NIKON)) return 'image/x-nikon-nef'
  if (make && /^sony/i.test(make) && raw(SONY)) return 'image/x-sony-arw'
  const isBeyond = pictures.every(({ reduced }) => reduced) && main.has(SUB_DIRECTORIES)
  if (make && /^sony/i.test(make) && isBeyond) return 'image/x-sony-arw'
  // A guess by the first bytes. A TIFF can have as many tags as NEF.
  const readable = main.complete && (make !== undefined || !main.has(0x010f))
  const denied =
    (guess === 'image/x-nikon-nef' && !/^nikon/i.test(make ?? '')) ||
    (guess === 'image/x-sony-arw' && !/^sony/i.test(make ?? '')) ||
    guess === 'image/x-adobe-dng'
  return readable && denied ? 'image/tiff' : guess
}

/** TIFF (TIFF 6.0), BigTIFF, and the raw formats with the same structure. */
export const readTiffFile: HeaderReader = async ({ bytes, mediaType: guess }) => {
  const tiff = await openTiff(bytes)
  const exif = await exifDirectories(tiff)
  if (!tiff || !exif.main) return undefined
  const pictures = await readPictures(tiff)
  const mediaType = SELF_EVIDENT.has(guess) ? guess : await byTags(exif.main, pictures, guess)
  const found = { mediaType, exif, xmp: await exif.main.bytes(700, MAX_BLOCK_BYTES) }
  if (mediaType === 'image/tiff') {
    const picture = await readPages(pictures)
    return picture && { ...found, ...picture }
  }
  const [sensor] = pictures
    .filter(({ reduced }) => !reduced)
    .toSorted((a, b) => b.width * b.height - a.width * a.height)
  // In CR2 and RW2 this tag describes the preview.
  const [bitDepth] = (!SELF_EVIDENT.has(mediaType) && (await sensor?.directory.numbers(258))) || []
  return { ...found, ...(await rawSize(mediaType, exif.main, exif.exif, sensor)), bitDepth }
}

async function readPages(pictures: Picture[]): Promise<Header | undefined> {
  const pages = pictures.filter(({ reduced }) => !reduced)
  const page = pages[0] ?? pictures[0]
  if (!page) return undefined
  const extraSamples = await page.directory.numbers(338, 8)
  return {
    width: page.width,
    height: page.height,
    frames: pages.length,
    bitDepth: (await page.directory.numbers(258))[0] ?? 1,
    colourSpace: page.photometric === undefined ? undefined : SPACES[page.photometric],
    hasAlpha: extraSamples.some((kind) => kind === 1 || kind === 2),
    icc: await page.directory.bytes(34675, MAX_BLOCK_BYTES),
  }
}

// PhotometricInterpretation. Colours without a profile are sRGB.
const SPACES: Record<number, string> = {
  0: 'grey',
  1: 'grey',
  2: 'sRGB',
  3: 'sRGB',
  5: 'CMYK',
  6: 'sRGB',
  8: 'Lab',
  9: 'Lab',
}

async function rawSize(
  mediaType: string,
  main: Directory,
  exif: Directory | undefined,
  sensor: Picture | undefined,
) {
  const number = async (directory: Directory | undefined, tag: number) =>
    (await directory?.numbers(tag))?.[0] ?? 0
  if (mediaType === 'image/x-panasonic-rw2') {
    // The borders of the picture on the sensor.
    const [top, left, bottom, right] = await Promise.all([4, 5, 6, 7].map((tag) => number(main, tag)))
    return { width: right! - left!, height: bottom! - top! }
  }
  const size = { width: sensor?.width, height: sensor?.height }
  if (mediaType !== 'image/x-canon-cr2') return size
  // CR2 has the size of the finished picture, not that of the raw one.
  const finished = { width: await number(exif, 0xa002), height: await number(exif, 0xa003) }
  return finished.width > (size.width ?? 0) && finished.height > 0 ? finished : size
}

/** All pictures with a size, in the chain of directories and below its first ones. */
async function readPictures(tiff: Tiff) {
  const pictures: Picture[] = []
  const seen = new Set<number>()
  const add = async (offset: number) => {
    if (offset === 0 || seen.has(offset)) return undefined
    seen.add(offset)
    const directory = await tiff.directory(offset)
    if (!directory) return undefined
    const number = async (tag: number) => (await directory.numbers(tag))[0]
    const [width = 0, height = 0] = [await number(256), await number(257)]
    const subfile = (await number(254)) ?? 0
    if (width > 0 && height > 0)
      pictures.push({
        directory,
        width,
        height,
        reduced: (subfile & 1) === 1 || (await number(255)) === 2,
        photometric: await number(262),
        compression: await number(259),
      })
    return directory
  }

  let directory = await add(tiff.first)
  for (let page = 1; directory && page < MAX_PAGES; page++) {
    if (page <= MAX_SUB_DIRECTORIES)
      for (const offset of await directory.numbers(SUB_DIRECTORIES, MAX_SUB_DIRECTORIES)) await add(offset)
    directory = await add(directory.next)
  }
  return pictures
}
