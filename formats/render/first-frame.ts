import { bytesOf } from '../headers/bytes.ts'
import { type Box, type BoxReader, type Range, readBoxes } from '../headers/isobmff.ts'
import { Unrenderable } from './unrenderable.ts'

/** The frame's coding: the type of an item, its configuration, and the brand of a still picture. */
const CODINGS: Record<string, { item: string; configuration: string; brand: string }> = {
  av01: { item: 'av01', configuration: 'av1C', brand: 'avif' },
  hvc1: { item: 'hvc1', configuration: 'hvcC', brand: 'heic' },
  hev1: { item: 'hvc1', configuration: 'hvcC', brand: 'heic' },
}
const MAX_TRACKS = 16
const MAX_PROPERTY_BYTES = 2 ** 20
/** A VisualSampleEntry before its boxes (ISO/IEC 14496-12 §12.1.3). */
const SAMPLE_ENTRY_BYTES = 78

/**
 * Makes a still picture of the first frame of a sequence (ISO/IEC 23008-12 §7), which decoders of still pictures support.
 *
 * @throws {Unrenderable} there is no frame, or it is not AV1 or HEVC
 */
export async function firstFrame(file: Buffer): Promise<Buffer> {
  const boxes = readBoxes(bytesOf(file))
  const movie = await boxes.find(undefined, 'moov')
  let tracks = 0
  if (movie)
    for await (const track of boxes.boxes(movie)) {
      if (track.type !== 'trak') continue
      if (++tracks > MAX_TRACKS) break
      const still = await stillOf(file, boxes, track)
      if (still) return still
    }
  throw new Unrenderable('There is no decoder for the frames of this sequence.')
}

async function stillOf(file: Buffer, boxes: BoxReader, track: Range) {
  const samples = await boxes.find(track, 'mdia', 'minf', 'stbl')
  const descriptions = samples && (await boxes.find(samples, 'stsd'))
  if (!descriptions) return undefined
  for await (const entry of boxes.boxes({ start: descriptions.start + 8, end: descriptions.end })) {
    const coding = CODINGS[entry.type]
    const frame = coding && (await locateFirst(boxes, samples))
    if (!frame || frame.end > file.length) return undefined
    const head = await boxes.content(entry, SAMPLE_ENTRY_BYTES)
    const size = box('ispe', [0, 0, 0, 0], uint32(head.readUInt16BE(24)), uint32(head.readUInt16BE(26)))
    const inside = { start: entry.start + SAMPLE_ENTRY_BYTES, end: entry.end }
    const configuration = await boxes.find(inside, coding.configuration)
    if (!configuration) return undefined
    const properties = [size, await copyBox(boxes, configuration)]
    for await (const property of boxes.boxes(inside))
      if (property.type === 'colr') properties.push(await copyBox(boxes, property))
    return writeStill(coding, properties, file.subarray(frame.start, frame.end))
  }
  return undefined
}

const copyBox = async (boxes: BoxReader, found: Box) =>
  box(found.type, await boxes.content(found, MAX_PROPERTY_BYTES))

/** Where the bytes of the first sample are: the first of the first chunk (ISO/IEC 14496-12 §8.7). */
async function locateFirst(boxes: BoxReader, samples: Range): Promise<Range | undefined> {
  const table = async (type: string) => {
    const found = await boxes.find(samples, type)
    return found ? boxes.content(found, 16) : Buffer.alloc(0)
  }
  const [short, long, sizes] = [await table('stco'), await table('co64'), await table('stsz')]
  if (sizes.length < 8) return undefined
  const size = sizes.readUInt32BE(4) || (sizes.length < 16 ? 0 : sizes.readUInt32BE(12))
  const start =
    short.length >= 12 ? short.readUInt32BE(8) : long.length >= 16 ? Number(long.readBigUInt64BE(8)) : 0
  return size > 0 && start > 0 ? { start, end: start + size } : undefined
}

function writeStill({ item, brand }: (typeof CODINGS)[string], properties: Buffer[], frame: Buffer) {
  const ftyp = box('ftyp', brand, uint32(0), 'mif1miaf', brand)
  // Each property of the item by its number. The second one, the configuration, is essential.
  const indices = properties.map((_, n) => (n === 1 ? 0x80 : 0) + n + 1)
  const association = [0, 0, 0, 0, 0, 0, 0, 1, 0, 1, indices.length, ...indices]
  const metaWith = (offset: number) =>
    box(
      'meta',
      [0, 0, 0, 0],
      box('hdlr', Array(8).fill(0), 'pict', Array(13).fill(0)),
      box('pitm', [0, 0, 0, 0, 0, 1]),
      // Numbers of four bytes, one item with one part.
      box('iloc', [0, 0, 0, 0, 0x44, 0, 0, 1, 0, 1, 0, 0, 0, 1], uint32(offset), uint32(frame.length)),
      box('iinf', [0, 0, 0, 0, 0, 1], box('infe', [2, 0, 0, 0, 0, 1, 0, 0], item, [0])),
      box('iprp', box('ipco', ...properties), box('ipma', association)),
    )
  const offset = ftyp.length + metaWith(0).length + 8
  return Buffer.concat([ftyp, metaWith(offset), box('mdat', frame)])
}

const uint32 = (value: number) => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

/** A box with its content: bytes, or Latin-1. */
function box(type: string, ...parts: (Buffer | number[] | string)[]): Buffer {
  const content = parts.map((part) =>
    typeof part === 'string' ? Buffer.from(part, 'latin1') : Buffer.from(part),
  )
  const length = content.reduce((sum, part) => sum + part.length, 8)
  return Buffer.concat([uint32(length), Buffer.from(type, 'latin1'), ...content])
}
