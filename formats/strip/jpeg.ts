import {
  APP0,
  APP1,
  APP2,
  APP14,
  APP15,
  COM,
  DNL,
  EOI,
  isFrame,
  parts,
  SOI,
  SOS,
  startsWith,
} from '../headers/jpeg-segments.ts'
import { isColourProfile, orientationOnly, PROFILE_FRONT_BYTES } from './allowed.ts'
import { CannotStrip, createPlan, type Plan } from './plan.ts'
import type { Reader } from './reader.ts'

const JFIF = Buffer.from('JFIF\0', 'latin1')
const EXIF = Buffer.from('Exif\0', 'latin1')
const ICC = Buffer.from('ICC_PROFILE\0', 'latin1')
const ADOBE = Buffer.from('Adobe', 'latin1')

/**
 * Plans a JPEG (ITU-T T.81) without metadata. LiveImage are the frame, its tables and scans, JFIF without its thumbnail,
 * the colour profile, and Adobe's segment, which says how colours are coded. All other APPn and comments go, with
 * what comes after the end of the image: the previews and gain maps of MPF, films, archives.
 *
 * A segment that is kept must have just the length that its contents need, as decoders want it too, and segments must
 * follow one another without a gap; then no damaged length can carry metadata along.
 */
export async function planJpeg(reader: Reader): Promise<Plan> {
  const plan = createPlan()
  if ((await reader.take(2)).readUInt16BE() !== 0xff00 + SOI) throw new CannotStrip('it is no JPEG')
  plan.copy(0, 2)

  const profile: { front: Buffer; size: number } = { front: Buffer.alloc(0), size: 0 }
  let frames = 0
  let scans = 0
  let hadExif = false
  let marker = await nextMarker(reader)
  while (marker !== EOI) {
    const start = reader.position - 2
    const fits = marker === DNL && scans === 0 ? undefined : parts.get(marker)
    if (!fits && marker !== COM && (marker < APP0 || marker > APP15))
      throw new CannotStrip('it has a marker that is not known')
    const segment = await takeSegment(reader)

    if (fits) {
      if (!fits(segment)) throw new CannotStrip('a segment is longer or shorter than its contents')
      plan.copy(start, reader.position)
      if (isFrame(marker) && ++frames > 1) throw new CannotStrip('it has more than one frame')
    } else if (scans > 0) {
      // What is said after the first scan, decoders don't hear.
    } else if (marker === APP0 && startsWith(segment, JFIF) && segment.length >= 14) {
      plan.add(makeSegment(APP0, segment.subarray(0, 12), Buffer.alloc(2))) // a thumbnail of 0 x 0
    } else if (marker === APP14 && startsWith(segment, ADOBE) && segment.length >= 12) {
      plan.add(makeSegment(APP14, segment.subarray(0, 12)))
    } else if (marker === APP2 && startsWith(segment, ICC) && segment.length >= 14) {
      // Two bytes follow the name: which part of the profile this is, and of how many (ICC.1 §B.4).
      const part = segment.subarray(14)
      if (segment[12] === 1) profile.front = part.subarray(0, PROFILE_FRONT_BYTES)
      profile.size += part.length
      plan.copy(start, reader.position)
    } else if (marker === APP1 && startsWith(segment, EXIF) && !hadExif) {
      hadExif = true
      const orientation = orientationOnly(segment)
      if (orientation) plan.add(makeSegment(APP1, Buffer.from('Exif\0\0', 'latin1'), orientation))
    }

    if (marker === SOS) {
      if (frames === 0) throw new CannotStrip('it has a scan before its frame')
      scans++
      const scan = reader.position
      marker = await nextMarker(reader, { inScan: true })
      plan.copy(scan, reader.position - 2)
    } else {
      marker = await nextMarker(reader)
    }
  }
  if (scans === 0) throw new CannotStrip('it has no scan')
  if (profile.size > 0 && !isColourProfile(profile.front, profile.size))
    throw new CannotStrip('its colour profile is damaged')
  plan.copy(reader.position - 2, reader.position)
  return plan
}

/**
 * Reads up to the next marker, with the FFs that may stand before it (T.81 §B.1.1.2), and tells its second byte. In a
 * scan the coded data are read over: FF 00 stands for the byte FF there, and RSTm are a part of them (§B.1.1.5).
 */
async function nextMarker(reader: Reader, { inScan = false } = {}): Promise<number> {
  let afterFF = false
  for (;;) {
    const chunk = await reader.peek()
    for (let at = 0; at < chunk.length; ) {
      if (!afterFF) {
        const found = chunk.indexOf(0xff, at)
        if (found !== at && !inScan) throw new CannotStrip('it has bytes between its segments')
        if (found === -1) break
        at = found + 1
        afterFF = true
        continue
      }
      const byte = chunk[at++]!
      if (byte === 0xff) continue
      if (inScan && (byte === 0 || isRestart(byte))) {
        afterFF = false
        continue
      }
      reader.advance(at)
      return byte
    }
    reader.advance(chunk.length)
  }
}

async function takeSegment(reader: Reader) {
  const length = (await reader.takeHeader(2)).readUInt16BE() // counts itself
  if (length < 2) throw new CannotStrip('a segment is shorter than its length')
  return reader.take(length - 2)
}

function makeSegment(marker: number, ...contents: Buffer[]) {
  const segment = Buffer.concat([Buffer.of(0xff, marker, 0, 0), ...contents])
  segment.writeUInt16BE(segment.length - 2, 2)
  return segment
}

const isRestart = (marker: number) => marker >= 0xd0 && marker <= 0xd7
