import type { Bytes } from './bytes.ts'
import { type ExifDirectories, openBlock } from './exif.ts'
import type { Header } from './header.ts'
import {
  APP0,
  APP1,
  APP2,
  APP15,
  COM,
  DHT,
  DQT,
  DRI,
  EOI,
  isRestart,
  parts,
  SOF0,
  SOF2,
  SOI,
  SOS,
  startsWith,
} from './jpeg-segments.ts'
import { JPEG_PREFIX_BYTES } from './orientation.ts'

// Most photographs have their tags with a thumbnail, a profile and tables in this space. Up to 64 KiB are read from a
// socket at once, with the header fields of the request.
export const START_BYTES = 60 * 1024
/** Reads the header of a JPEG from its first `START_BYTES`; undefined if more of the file has to be read. */
export async function readJpegStart(bytes: Bytes): Promise<Header | undefined> {
  const found = parseJpeg(await bytes.read(0, START_BYTES))
  return found && !found.multiPicture ? toHeader(found) : undefined
}

export const toHeader = async ({
  width,
  height,
  colourSpace,
  exif,
  xmp,
  icc,
}: JpegHeader): Promise<Header> => ({
  width,
  height,
  bitDepth: 8,
  colourSpace,
  hasAlpha: false,
  exif: await chooseExif(exif),
  xmp,
  icc,
})

export const START = Buffer.of(0xff, SOI)

/**
 * The tags are read from the first block that can be opened. Browsers decide by the first block that is longer than its
 * prefix, and do not turn the picture if they cannot read that block.
 */
export async function chooseExif(blocks: Buffer[]): Promise<ExifDirectories | undefined> {
  const deciding = blocks.find(({ length }) => length > JPEG_PREFIX_BYTES)
  for (const block of blocks) {
    const opened = await openBlock(block, { container: 'JPEG' })
    if (opened) return { ...opened, orients: opened.orients === true && block === deciding }
  }
  return undefined
}

interface JpegHeader {
  width: number
  height: number
  colourSpace: string
  /** The segments with Exif, with their prefix. */
  exif: Buffer[]
  xmp?: Buffer | undefined
  icc?: Buffer | undefined
  /** It has a directory of the pictures in the file (CIPA DC-007). */
  multiPicture: boolean
  /** Where the first scan's data begin. */
  end: number
}

const EXIF = Buffer.from('Exif', 'latin1')
const EXIF_NUL = Buffer.from('Exif\0', 'latin1')
const EXIF_WHOLE = Buffer.from('Exif\0\0', 'latin1')
const URI = Buffer.from('http', 'latin1')
const XMP = Buffer.from('http://ns.adobe.com/xap/1.0/\0', 'latin1')
const ICC = Buffer.from('ICC_PROFILE', 'latin1')
const MPF = Buffer.from('MPF', 'latin1')

// Between the name with its NUL and the part of the profile: the number of the part, and how many there are.
const ICC_NUMBER = 12
const ICC_HEADER_BYTES = 14
// libvips cuts a profile in more parts.
const MAX_ICC_PARTS = 100

// A picture has some tens of segments, and one block of Exif.
const MAX_SEGMENTS = 1000
const MAX_EXIF_BLOCKS = 8

/**
 * Reads the segments of a JPEG up to its first scan (ITU-T T.81 annex B) as libvips does; undefined if they do not end in
 * `front`, are not plainly in order, or belong to a kind of JPEG that browsers do not show.
 */
export function parseJpeg(front: Buffer): JpegHeader | undefined {
  if (!startsWith(front, START)) return undefined
  const found: Found = { exif: [], profile: [], multiPicture: false }
  let at = START.length
  for (let count = 0; count < MAX_SEGMENTS; count++) {
    const segment = segmentAt(front, at)
    if (!segment) return undefined
    at = segment.end
    if (segment.marker !== SOS) {
      if (!takeSegment(segment, found)) return undefined
      continue
    }
    const { frame, profile, ...rest } = found
    if (!frame || !isScanOf(segment.contents, frame)) return undefined
    const { width, height, colourSpace } = frame
    return { ...rest, width, height, colourSpace, icc: join(profile), end: at }
  }
  return undefined
}

interface Found {
  frame?: Frame
  exif: Buffer[]
  xmp?: Buffer
  profile: Buffer[]
  multiPicture: boolean
}

interface Segment {
  marker: number
  contents: Buffer
  end: number
}

/** Whether a segment before the first scan is in order. Its contents are added to `found`. */
function takeSegment({ marker, contents }: Segment, found: Found): boolean {
  if (marker === APP1) return takeTags(contents, found)
  if (marker === APP2) {
    // If several parts have one number, the last counts.
    if (contents.length > ICC_HEADER_BYTES && startsWith(contents, ICC))
      found.profile[contents[ICC_NUMBER]!] = contents.subarray(ICC_HEADER_BYTES)
    else if (startsWith(contents, MPF)) found.multiPicture = true
    return true
  }
  if (marker >= SOF0 && marker <= SOF2) {
    const frame = found.frame ? undefined : frameOf(marker, contents)
    if (frame) found.frame = frame
    return frame !== undefined
  }
  if (marker === DHT || marker === DQT || marker === DRI) return parts.get(marker)!(contents)
  return marker === COM || (marker >= APP0 && marker <= APP15)
}

/** Exif, of which there can be several blocks, and XMP, of which the first counts. */
function takeTags(contents: Buffer, found: Found): boolean {
  if (contents.length <= 4) return true
  if (startsWith(contents, EXIF)) {
    if (found.exif.length < MAX_EXIF_BLOCKS) found.exif.push(contents)
    return startsWith(contents, EXIF_WHOLE)
  }
  if (!found.xmp && startsWith(contents, URI)) {
    if (!startsWith(contents, XMP) || contents.length === XMP.length) return false
    found.xmp = contents.subarray(XMP.length)
  }
  return true
}

/** The segments with Exif of a JPEG that is not plainly in order. Bytes between segments are skipped, as libjpeg does. */
export function exifBlocks(front: Buffer): Buffer[] {
  const blocks: Buffer[] = []
  let at = front.indexOf(0xff, START.length)
  for (let count = 0; count < MAX_SEGMENTS && at >= 0; count++) {
    while (front[at] === 0xff) at++
    const marker = front[at] ?? EOI
    if (marker === SOS || marker === EOI) break
    let next = at + 1
    if (marker !== 0 && marker !== SOI && !isRestart(marker) && at + 3 <= front.length) {
      next += Math.max(2, front.readUInt16BE(at + 1))
      const contents = front.subarray(at + 3, next)
      if (marker === APP1 && startsWith(contents, EXIF_NUL) && blocks.length < MAX_EXIF_BLOCKS)
        blocks.push(contents)
    }
    at = front.indexOf(0xff, next)
  }
  return blocks
}

/** A segment, with FFs before it or not (T.81 §B.1.1.2); undefined if there is none, or only a part of it. */
function segmentAt(front: Buffer, start: number): Segment | undefined {
  let at = start
  while (front[at] === 0xff) at++
  if (at === start || at + 3 > front.length) return undefined
  const end = at + 1 + front.readUInt16BE(at + 1) // the length counts itself
  if (end < at + 3 || end > front.length) return undefined
  return { marker: front[at]!, contents: front.subarray(at + 3, end), end }
}

interface Frame {
  width: number
  height: number
  colourSpace: string
  /** The components' identifiers, in their order. */
  components: number[]
}

// The colours that libjpeg converts to, by the number of components. Adobe's segment does not matter.
const SPACES: Record<number, string> = { 1: 'grey', 3: 'sRGB', 4: 'CMYK' }
const MAX_SIDE = 65_500 // JPEG_MAX_DIMENSION
const MAX_SAMPLES = 4

/** A frame of 8 bits that libjpeg decodes (T.81 §B.2.2); undefined for any other frame. */
function frameOf(marker: number, contents: Buffer): Frame | undefined {
  if (!parts.get(marker)!(contents) || contents[0] !== 8) return undefined
  const height = contents.readUInt16BE(1)
  const width = contents.readUInt16BE(3)
  const colourSpace = SPACES[contents[5]!]
  const inRange = (value: number, max: number) => value >= 1 && value <= max
  if (!colourSpace || !inRange(width, MAX_SIDE) || !inRange(height, MAX_SIDE)) return undefined
  const components: number[] = []
  for (let at = 6; at < contents.length; at += 3) {
    const identifier = contents[at]!
    const samples = contents[at + 1]!
    if (
      components.includes(identifier) ||
      !inRange(samples >> 4, MAX_SAMPLES) ||
      !inRange(samples & 15, MAX_SAMPLES)
    )
      return undefined
    components.push(identifier)
  }
  return { width, height, colourSpace, components }
}

/** Whether a scan has components of the frame, each once and in the frame's order (T.81 §B.2.3). */
function isScanOf(contents: Buffer, { components }: Frame) {
  if (!parts.get(SOS)!(contents) || contents[0] === 0) return false
  let last = -1
  for (let n = 0; n < contents[0]!; n++) {
    const place = components.indexOf(contents[1 + 2 * n]!)
    if (place <= last) return false
    last = place
  }
  return true
}

/** A profile from its parts up to the first that is missing. They are counted from 1 (ICC.1 §B.4). */
function join(profile: Buffer[]) {
  let end = 1
  while (end <= MAX_ICC_PARTS && profile[end]) end++
  return end === 1 ? undefined : Buffer.concat(profile.slice(1, end))
}
