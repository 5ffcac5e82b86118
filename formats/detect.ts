import { fileTypeFromBuffer } from 'file-type'
import { type Format, formatOf } from './format.ts'
import { bytesOf } from './headers/bytes.ts'
import { beginsLikeSvg } from './headers/svg.ts'
import { tiffMediaType } from './headers/tiff-files.ts'

/** The number of bytes at the front by which a format is known: file-type reads as many. */
export const HEAD_BYTES = 4100

/**
 * Detects the format of a file by its first bytes; undefined if it is no image. `readMetadata` then checks the header,
 * and may find a more precise format: a TIFF can have its directory anywhere.
 *
 * @param head the first `HEAD_BYTES` bytes, or the whole file
 */
export async function sniff(head: Uint8Array): Promise<Format | undefined> {
  const bytes = Buffer.from(head.buffer, head.byteOffset, head.length)
  const detected = (await fileTypeFromBuffer(bytes))?.mime ?? ''
  const mediaType = (await refine(bytes, detected)) ?? detected
  return (plausible[mediaType]?.(bytes) ?? true) ? formatOf(mediaType) : undefined
}

/** Corrects file-type: formats that it does not know, or takes for others. */
async function refine(head: Buffer, detected: string) {
  const text = head.toString('latin1')
  if (/^(II[*+]\0|MM\0[*+])/.test(text))
    // file-type does not see a directory beyond the head.
    return tiffMediaType(bytesOf(head), formatOf(detected)?.mediaType ?? 'image/tiff')
  if (/^(IIR[OS]|MMOR)/.test(text)) return 'image/x-olympus-orf'
  if (/^IIU\0/.test(text)) return 'image/x-panasonic-rw2'
  if (/^.{4}ftyp/s.test(text)) return byBrands(head)
  // file-type accepts no PNG whose first chunk is damaged.
  if (text.startsWith('\x89PNG\r\n\x1a\n')) return formatOf(detected)?.mediaType ?? 'image/png'
  if (text.startsWith('\0\0\0\x0cjP  \r\n\x87\n') && text.startsWith('jph ', 20)) return 'image/jph'
  if ((detected === '' || detected === 'application/xml') && beginsLikeSvg(head)) return 'image/svg+xml'
  return undefined
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

// file-type knows these formats by a few bytes, with which text and other files can begin too.
const plausible: Record<string, (head: Buffer) => boolean> = {
  'image/gif': (head) => /^GIF8[79]a/.test(head.toString('latin1', 0, 6)),
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
