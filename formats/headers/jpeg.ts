import { type Bytes, bytesOf } from './bytes.ts'
import type { Header, HeaderReader } from './header.ts'
import {
  APP0,
  APP1,
  APP2,
  APP15,
  COM,
  DHT,
  DQT,
  DRI,
  parts,
  SOF0,
  SOF2,
  SOI,
  SOS,
  startsWith,
} from './jpeg-segments.ts'
import { readBySharp } from './sharp.ts'
import { exifDirectories } from './tags.ts'
import { openExif } from './tiff.ts'

// Before its first scan a photograph has its tags with a thumbnail, a profile and tables. So much is most often in one
// piece: what is read from a socket at once has 64 KiB with the header fields.
export const START_BYTES = 60 * 1024
const FRONT_BYTES = 2 ** 18

/** All that a JPEG tells is before its first scan. libvips, given more, looks through all of it for a gain map. */
export const readJpeg: HeaderReader = async ({ bytes, source }) =>
  (await readJpegFront(bytes)) ?? (bytes.size > FRONT_BYTES ? readBySharp(source) : undefined)

/**
 * Reads a JPEG's header as far as it stands in the first 256 KiB; undefined where that is none. What is not plainly in
 * order is left to libvips, which knows how much of it libjpeg forgives.
 */
export async function readJpegFront(bytes: Bytes): Promise<Header | undefined> {
  const found =
    parseJpeg(await bytes.read(0, START_BYTES)) ??
    (bytes.size > START_BYTES ? parseJpeg(await bytes.read(0, FRONT_BYTES)) : undefined)
  if (!found || (found.multiPicture && hasImage(await bytes.read(0, FRONT_BYTES), found.end)))
    return readBySharp(await bytes.read(0, FRONT_BYTES))
  return toHeader(found)
}

/** What the first `START_BYTES` tell for sure; undefined where more of the file has to be looked at. */
export async function readJpegStart(bytes: Bytes): Promise<Header | undefined> {
  const found = parseJpeg(await bytes.read(0, START_BYTES))
  return found && !found.multiPicture ? toHeader(found) : undefined
}

const toHeader = async ({ width, height, colourSpace, exif, xmp, icc }: JpegHeader): Promise<Header> => ({
  width,
  height,
  bitDepth: 8,
  colourSpace,
  hasAlpha: false,
  exif: exif && (await exifDirectories(await openExif(bytesOf(exif)))),
  xmp,
  icc,
})

const START = Buffer.of(0xff, SOI)

/** libvips takes a JPEG with a directory of pictures and one more of them for Ultra HDR, and gives no XMP of it. */
const hasImage = (front: Buffer, from: number) => front.includes(START, from)

interface JpegHeader {
  width: number
  height: number
  colourSpace: string
  exif?: Buffer | undefined
  xmp?: Buffer | undefined
  icc?: Buffer | undefined
  /** It has a directory of the pictures in its file (CIPA DC-007). */
  multiPicture: boolean
  /** Where the first scan's data begin. */
  end: number
}

const EXIF = Buffer.from('Exif', 'latin1')
const EXIF_WHOLE = Buffer.from('Exif\0\0', 'latin1')
const URI = Buffer.from('http', 'latin1')
const XMP = Buffer.from('http://ns.adobe.com/xap/1.0/\0', 'latin1')
const ICC = Buffer.from('ICC_PROFILE', 'latin1')
const MPF = Buffer.from('MPF', 'latin1')

// Which part of the profile a segment has, and of how many, stands between the name with its NUL and the part.
const ICC_NUMBER = 12
const ICC_HEADER_BYTES = 14
// A profile in more parts is cut there by libvips.
const MOST_ICC_PARTS = 100

// A picture has some tens of segments.
const MOST_SEGMENTS = 1000

/**
 * Reads the segments of a JPEG up to its first scan (ITU-T T.81 annex B) as libvips does; undefined where they don't
 * end in `front` or are anything but in order, and for pictures of other kinds than browsers show.
 */
export function parseJpeg(front: Buffer): JpegHeader | undefined {
  if (!startsWith(front, START)) return undefined
  let frame: Frame | undefined
  let exif: Buffer | undefined
  let xmp: Buffer | undefined
  let multiPicture = false
  const profile: Buffer[] = []
  let at = START.length
  for (let count = 0; count < MOST_SEGMENTS; count++) {
    const segment = segmentAt(front, at)
    if (!segment) return undefined
    const { marker, contents, end } = segment
    at = end
    if (marker === APP1 && contents.length > 4) {
      // The first of each counts.
      if (!exif && startsWith(contents, EXIF)) {
        if (!startsWith(contents, EXIF_WHOLE)) return undefined
        exif = contents
      } else if (!xmp && startsWith(contents, URI)) {
        if (!startsWith(contents, XMP) || contents.length === XMP.length) return undefined
        xmp = contents.subarray(XMP.length)
      }
    } else if (marker === APP2 && contents.length > ICC_HEADER_BYTES && startsWith(contents, ICC)) {
      // Of several parts with one number, the last counts.
      profile[contents[ICC_NUMBER]!] = contents.subarray(ICC_HEADER_BYTES)
    } else if (marker === APP2 && startsWith(contents, MPF)) {
      multiPicture = true
    } else if (marker >= SOF0 && marker <= SOF2) {
      if (frame) return undefined
      frame = frameOf(marker, contents)
      if (!frame) return undefined
    } else if (marker === SOS) {
      if (!frame || !isScanOf(contents, frame)) return undefined
      const { width, height, colourSpace } = frame
      return { width, height, colourSpace, exif, xmp, icc: join(profile), multiPicture, end }
    } else if (marker === DHT || marker === DQT || marker === DRI) {
      if (!parts.get(marker)!(contents)) return undefined
    } else if (marker !== COM && (marker < APP0 || marker > APP15)) return undefined
  }
  return undefined
}

/** A segment, which FFs may stand before (T.81 §B.1.1.2); undefined where there is none, or not all of it. */
function segmentAt(front: Buffer, start: number) {
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

// What libjpeg makes of so many components, whatever Adobe's segment says of their coding.
const SPACES: Record<number, string> = { 1: 'grey', 3: 'sRGB', 4: 'CMYK' }
const MOST_PIXELS = 65_500 // JPEG_MAX_DIMENSION
const MOST_SAMPLES = 4

/** A frame of 8 bits that libjpeg decodes (T.81 §B.2.2); undefined for any other. */
function frameOf(marker: number, contents: Buffer): Frame | undefined {
  if (!parts.get(marker)!(contents) || contents[0] !== 8) return undefined
  const height = contents.readUInt16BE(1)
  const width = contents.readUInt16BE(3)
  const colourSpace = SPACES[contents[5]!]
  const inRange = (value: number, most: number) => value >= 1 && value <= most
  if (!colourSpace || !inRange(width, MOST_PIXELS) || !inRange(height, MOST_PIXELS)) return undefined
  const components: number[] = []
  for (let at = 6; at < contents.length; at += 3) {
    const identifier = contents[at]!
    const samples = contents[at + 1]!
    if (
      components.includes(identifier) ||
      !inRange(samples >> 4, MOST_SAMPLES) ||
      !inRange(samples & 15, MOST_SAMPLES)
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

/** Puts a profile together from its parts, which are counted from 1 (ICC.1 §B.4), up to the first that is missing. */
function join(profile: Buffer[]) {
  let end = 1
  while (end <= MOST_ICC_PARTS && profile[end]) end++
  return end === 1 ? undefined : Buffer.concat(profile.slice(1, end))
}
