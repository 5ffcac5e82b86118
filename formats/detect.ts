import { type Format, formatOf } from './format.ts'
import { bytesOf } from './headers/bytes.ts'
import { beginsLikeSvg } from './headers/svg-start.ts'
import { tiffMediaType } from './headers/tiff-files.ts'

/** The number of bytes at the front by which a format is known. */
export const HEAD_BYTES = 4100

/**
 * Detects the format of a file by its first bytes; undefined if it is no image. `readMetadata` then checks the header,
 * and may find a more precise format: a TIFF can have its directory anywhere.
 *
 * @param head the first `HEAD_BYTES` bytes, or the whole file
 */
export async function sniff(head: Uint8Array): Promise<Format | undefined> {
  const bytes = Buffer.from(head.buffer, head.byteOffset, Math.min(head.length, HEAD_BYTES))
  const mediaType = await mediaTypeOf(bytes)
  return mediaType !== undefined && (plausible[mediaType]?.(bytes) ?? true) ? formatOf(mediaType) : undefined
}

/** A text that begins like this has the first string at 0, and the second one at its place. */
type Signature = [start: string, place?: number, further?: string]

// The formats that have a signature at a fixed place. A format that needs a closer look is not among them.
const SIGNATURES: [mediaType: string, ...Signature][] = [
  ['image/jpeg', '\xff\xd8\xff'],
  ['image/gif', 'GIF87a'],
  ['image/gif', 'GIF89a'],
  ['image/webp', 'RIFF', 8, 'WEBP'],
  ['image/bmp', 'BM'],
  ['image/x-icon', '\0\0\x01\0'],
  ['image/jxl', '\xff\x0a'],
  ['image/jxl', '\0\0\0\x0cJXL \r\n\x87\n'],
  ['image/j2c', '\xff\x4f\xff\x51'],
  ['image/vnd.adobe.photoshop', '8BPS'],
  ['image/x-fujifilm-raf', 'FUJIFILMCCD-RAW'],
  ['image/x-olympus-orf', 'IIRO'],
  ['image/x-olympus-orf', 'IIRS'],
  ['image/x-olympus-orf', 'MMOR'],
  ['image/x-panasonic-rw2', 'IIU\0'],
  ['image/x-canon-cr2', 'II*\0', 8, 'CR'],
]

const has = (text: string, [start, place = 0, further = '']: Signature) =>
  text.startsWith(start) && text.startsWith(further, place)

const TIFF = ['II*\0', 'II+\0', 'MM\0*', 'MM\0+']

/** The first directory of Nikon's cameras, by its number of tags and its first tag: for a file that is cut off. */
const LIKE_NEF: Signature[] = [
  ['II*\0', 8, '\x1c\0\xfe\0'],
  ['II*\0', 8, '\x1f\0\x0b\0'],
]

async function mediaTypeOf(head: Buffer): Promise<string | undefined> {
  const text = head.toString('latin1')
  const [found] = SIGNATURES.find(([, ...signature]) => has(text, signature)) ?? []
  if (found) return found
  if (TIFF.some((start) => text.startsWith(start))) {
    const isLikeNef = LIKE_NEF.some((signature) => has(text, signature))
    return tiffMediaType(bytesOf(head), isLikeNef ? 'image/x-nikon-nef' : 'image/tiff')
  }
  if (text.startsWith('ftyp', 4)) return byBrands(head)
  if (text.startsWith('\x89PNG\r\n\x1a\n')) return isAnimated(head) ? 'image/apng' : 'image/png'
  if (text.startsWith('\0\0\0\x0cjP  \r\n\x87\n')) return JPEG_2000[text.slice(20, 24)]
  return beginsLikeSvg(head) ? 'image/svg+xml' : undefined
}

// The brands of ISO/IEC 15444-1, -2, -6 and -15.
const JPEG_2000: Record<string, string> = {
  'jp2 ': 'image/jp2',
  'jpx ': 'image/jpx',
  'jpm ': 'image/jpm',
  'jph ': 'image/jph',
}

/** Whether a PNG has an `acTL` chunk before its pixels (W3C PNG, third edition, §11.3.6). */
function isAnimated(head: Buffer) {
  for (let at = 8; at + 8 <= head.length; at += 12 + head.readUInt32BE(at)) {
    const type = head.toString('latin1', at + 4, at + 8)
    if (type === 'acTL') return true
    if (type === 'IDAT') return false
  }
  return false
}

// The brands of HEIF (ISO/IEC 23008-12 annex B, E), AVIF (AV1 Image File Format) and CR3.
const brands: Record<string, string> = {
  avif: 'image/avif',
  avis: 'image/avif',
  heic: 'image/heic',
  heix: 'image/heic',
  heim: 'image/heic',
  heis: 'image/heic',
  hevc: 'image/heic-sequence',
  hevx: 'image/heic-sequence',
  hevm: 'image/heic-sequence',
  hevs: 'image/heic-sequence',
  mif1: 'image/heif',
  mif2: 'image/heif',
  msf1: 'image/heif-sequence',
  'crx ': 'image/x-canon-cr3',
}

/** The media type by the major brand, or, if that is a general one, by the compatible brands. */
function byBrands(head: Buffer) {
  const end = Math.min(head.readUInt32BE(0), head.length)
  const [major = '', , ...compatible] = head.toString('latin1', 8, end).match(/.{4}/gs) ?? []
  const general = /^m[is]f/.test(major)
  if (brands[major] && !general) return brands[major]
  const known = compatible.filter((brand) => brands[brand])
  // Browsers accept AVIF by any of its brands.
  const av1 = known.find((brand) => /^avi[fs]/.test(brand))
  return brands[av1 ?? (general ? major : known[0]) ?? '']
}

// The signatures of these formats are short: text and other files can begin with them too.
const plausible: Record<string, (head: Buffer) => boolean> = {
  'image/jpeg': (head) => head[3] !== 0xf7, // JPEG-LS
  'image/bmp': (head) =>
    head.length >= 30 && [12, 16, 40, 52, 56, 64, 108, 124].includes(head.readUInt32LE(14)),
  'image/x-icon': (head) =>
    head.length >= 22 &&
    head[2] === 1 &&
    head.readUInt16LE(4) > 0 &&
    // .NET writes 255 in the reserved byte.
    (head[9] === 0 || head[9] === 255) &&
    head.readUInt32LE(18) >= 22,
  'image/vnd.adobe.photoshop': (head) => head.length >= 30 && [1, 2].includes(head.readUInt16BE(4)),
}
