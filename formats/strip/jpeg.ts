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
  isRestart,
  parts,
  SOI,
  SOS,
  startsWith,
} from '../headers/jpeg-segments.ts'
import { JPEG_PREFIX_BYTES } from '../headers/orientation.ts'
import { createExifReducer, PROFILE_FRONT_BYTES, profileSize } from './allowed.ts'
import { CannotStrip, createPlan, type Plan, type PlanBuilder } from './plan.ts'
import { EndOfFile, type Reader } from './reader.ts'

const JFIF = Buffer.from('JFIF\0', 'latin1')
const EXIF = Buffer.from('Exif\0', 'latin1')
const ICC = Buffer.from('ICC_PROFILE\0', 'latin1')
const ADOBE = Buffer.from('Adobe', 'latin1')

/**
 * Plans a JPEG (ITU-T T.81) without metadata. It keeps the frame, its tables and scans, JFIF without its thumbnail, the
 * colour profile, and Adobe's segment, which states how colours are coded. All other APPn and comments are removed, and
 * everything behind the end of the image: the previews and gain maps of MPF, films, archives.
 *
 * A segment that is kept must have exactly the length of its contents, and there must be no gap between segments, so a
 * damaged length cannot carry metadata along. If the file ends within a scan, the copy ends there, with a marker of its
 * own.
 */
export async function planJpeg(reader: Reader): Promise<Plan> {
  if ((await reader.take(2)).readUInt16BE() !== 0xff00 + SOI) throw new CannotStrip('the image is no JPEG')
  const planner = createPlanner(reader)
  try {
    let marker = await nextMarker(reader)
    while (marker !== EOI) {
      await planner.takeSegment(marker)
      marker = marker === SOS ? await planner.takeScan() : await nextMarker(reader)
    }
  } catch (error) {
    if (!(error instanceof EndOfFile) || !planner.hasScan()) throw error
  }
  return planner.end()
}

function createPlanner(reader: Reader) {
  const plan = createPlan()
  plan.copy(0, 2)
  const reduceExif = createExifReducer(JPEG_PREFIX_BYTES)
  const profile = createProfilePlanner(plan)
  let frames = 0
  let scans = 0

  /** Metadata and colours count only before the first scan. */
  async function takeApplicationData(marker: number, segment: Buffer, start: number) {
    if (marker === APP0 && startsWith(segment, JFIF) && segment.length >= 14)
      plan.add(makeSegment(APP0, segment.subarray(0, 12), Buffer.alloc(2))) // a thumbnail of 0 x 0
    else if (marker === APP14 && startsWith(segment, ADOBE) && segment.length >= 12)
      plan.add(makeSegment(APP14, segment.subarray(0, 12)))
    else if (marker === APP2 && startsWith(segment, ICC) && segment.length >= ICC_HEADER_BYTES)
      profile.take(segment, start)
    else if (marker === APP1 && startsWith(segment, EXIF))
      for (const block of await reduceExif(segment)) plan.add(makeSegment(APP1, block))
  }

  return {
    hasScan: () => scans > 0,

    async takeSegment(marker: number) {
      const start = reader.position - 2
      const fits = marker === DNL && scans === 0 ? undefined : parts.get(marker)
      if (!fits && marker !== COM && (marker < APP0 || marker > APP15))
        throw new CannotStrip('the image has a marker that is not known')
      const segment = await takeSegment(reader)
      if (!fits) {
        if (scans === 0) await takeApplicationData(marker, segment, start)
        return
      }
      if (!fits(segment)) throw new CannotStrip('a segment is longer or shorter than its contents')
      plan.copy(start, reader.position)
      if (isFrame(marker) && ++frames > 1) throw new CannotStrip('the image has more than one frame')
    },

    async takeScan() {
      if (frames === 0) throw new CannotStrip('the image has a scan before its frame')
      scans++
      const start = reader.position
      try {
        const marker = await nextMarker(reader, { inScan: true })
        plan.copy(start, reader.position - 2)
        return marker
      } catch (error) {
        if (error instanceof EndOfFile) plan.copy(start, reader.position)
        throw error
      }
    },

    end(): Plan {
      if (scans === 0) throw new CannotStrip('the image has no scan')
      profile.end()
      plan.add(Buffer.of(0xff, EOI))
      return plan
    },
  }
}

// Two bytes follow the name: the number of the part, from 1, and how many there are (ICC.1 §B.4).
const ICC_NUMBER = 12
const ICC_COUNT = 13
const ICC_HEADER_BYTES = 14

/**
 * Plans the parts of a colour profile. Bytes behind the size in its header are removed. A profile that is damaged, occurs
 * twice or is not numbered from 1 is removed: browsers ignore it.
 */
function createProfilePlanner(plan: PlanBuilder) {
  const numbers = new Set<number>()
  const counts = new Set<number>()
  let declared: number | undefined
  let size = 0
  let isBroken = false

  return {
    take(segment: Buffer, start: number) {
      const [number, part] = [segment[ICC_NUMBER]!, segment.subarray(ICC_HEADER_BYTES)]
      if (number === 1) declared = profileSize(part.subarray(0, PROFILE_FRONT_BYTES))
      isBroken ||= numbers.has(number) || number === 0
      const isInOrder = number === numbers.size + 1
      numbers.add(number)
      counts.add(segment[ICC_COUNT]!)
      const kept = isInOrder && declared !== undefined ? Math.max(0, declared - size) : part.length
      size += part.length
      const end = start + 4 + segment.length
      plan.addRemovable(
        kept < part.length
          ? makeSegment(APP2, segment.subarray(0, ICC_HEADER_BYTES + kept))
          : { start, end: end - 1 },
      )
      isBroken ||= !isInOrder && declared !== undefined && size > declared
    },

    end() {
      const isComplete = counts.size === 1 && counts.has(numbers.size)
      if (isBroken || !isComplete || declared === undefined || size < declared) plan.dropRemovable()
    },
  }
}

/**
 * Reads up to the next marker, with the FFs that can precede it (T.81 §B.1.1.2), and returns its second byte. In a scan
 * the coded data are skipped: FF 00 stands for the byte FF there, and RSTm are part of the scan (§B.1.1.5).
 */
async function nextMarker(reader: Reader, { inScan = false } = {}): Promise<number> {
  let afterFF = false
  for (;;) {
    const chunk = await reader.peek()
    for (let at = 0; at < chunk.length; ) {
      if (!afterFF) {
        const found = chunk.indexOf(0xff, at)
        if (found !== at && !inScan) throw new CannotStrip('the image has bytes between its segments')
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
