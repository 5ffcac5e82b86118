import type { Metadata } from '../schemas/images.ts'
import { compareLength } from './declared-length.ts'
import { type Bytes, type Source, withBytes } from './headers/bytes.ts'
import { locateItems } from './headers/heif-items.ts'
import { type BoxReader, type Range, readBoxes } from './headers/isobmff.ts'
import { openTiff, type Tiff } from './headers/tiff.ts'

const MAX_TABLE_BYTES = 2 ** 20
const MAX_TABLE_ENTRIES = 2 ** 18
const MAX_DIRECTORIES = 64
const MAX_TRACKS = 16
const MAX_TILE_PARTS = 65_536

type Cover = (bytes: Bytes) => Promise<number>

/** The number of bytes of a file that its structure declares as a part of a picture. */
const covers: Record<string, Cover> = {
  DNG: bytesOfTiff,
  CR2: bytesOfTiff,
  NEF: bytesOfTiff,
  ARW: bytesOfTiff,
  ORF: bytesOfTiff,
  RW2: bytesOfTiff,
  RAF: bytesOfRaf,
  AVIF: bytesOfSequence,
  HEIC: bytesOfSequence,
  HEIF: bytesOfSequence,
  'JPEG 2000': bytesOfCodestream,
}
const HAVE_LENGTH = new Set(['BMP', 'PSD'])

/**
 * Whether the header of a file accounts for at least half of its bytes. It is a check for files that no decoder supports,
 * so that a header followed by other bytes is not taken for a picture.
 */
export async function isCovered(source: Source, { format }: Pick<Metadata, 'format'>): Promise<boolean> {
  if (HAVE_LENGTH.has(format)) return /^(fits|short)$/.test(await compareLength(source, { format }))
  const cover = covers[format]
  if (!cover) return false
  return withBytes(source, async (bytes) => (await cover(bytes)) >= bytes.size / 2)
}

/** The bytes of ranges that are in the file. The second of two equal ranges does not count. */
function sumOf(ranges: Iterable<Range>, size: number) {
  const seen = new Set<number>()
  let sum = 0
  for (const { start, end } of ranges) {
    if (seen.has(start)) continue
    seen.add(start)
    sum += Math.max(0, Math.min(end, size) - start)
  }
  return sum
}

// Offsets and lengths: of strips, tiles, and of a JPEG.
const DATA_TAGS = [
  [273, 279],
  [324, 325],
  [513, 514],
] as const
const SUB_DIRECTORIES = [330, 34665]
const ENTRY_BYTES = 12

/** The strips, tiles and previews of all directories (TIFF 6.0). */
async function bytesOfTiff(bytes: Bytes) {
  const tiff = await openTiff(bytes)
  if (!tiff) return 0
  const ranges: Range[] = []
  const seen = new Set<number>()
  const waiting = [tiff.first]
  while (waiting.length > 0 && seen.size < MAX_DIRECTORIES) {
    const offset = waiting.shift()!
    if (offset === 0 || seen.has(offset)) continue
    seen.add(offset)
    waiting.push(...(await addRanges(tiff, offset, ranges)))
  }
  return sumOf(ranges, bytes.size)
}

/** Adds the ranges of a directory. Resolves with the offsets of the directories after and below it. */
async function addRanges(tiff: Tiff, offset: number, ranges: Range[]): Promise<number[]> {
  const directory = await tiff.directory(offset)
  if (!directory) return []
  ranges.push({ start: offset, end: offset + 2 + ENTRY_BYTES * directory.size })
  for (const [offsetTag, lengthTag] of DATA_TAGS) {
    const lengths = await directory.numbers(lengthTag, MAX_TABLE_ENTRIES)
    for (const [n, start] of (await directory.numbers(offsetTag, MAX_TABLE_ENTRIES)).entries())
      ranges.push({ start, end: start + (lengths[n] ?? 0) })
  }
  const below = await Promise.all(SUB_DIRECTORIES.map((tag) => directory.numbers(tag, MAX_DIRECTORIES)))
  return [directory.next, ...below.flat()]
}

/** The JPEG and the raw picture of Fujifilm's RAF, by the offsets in its header. */
async function bytesOfRaf(bytes: Bytes) {
  const head = await bytes.read(84, 24)
  if (head.length < 24) return 0
  const range = (at: number) => ({
    start: head.readUInt32BE(at),
    end: head.readUInt32BE(at) + head.readUInt32BE(at + 4),
  })
  return sumOf([range(0), range(16)], bytes.size)
}

/** The items and the frames of a sequence (ISO/IEC 14496-12 §8.7.3, §8.11.3). */
async function bytesOfSequence(bytes: Bytes) {
  const boxes = readBoxes(bytes)
  const meta = await boxes.find(undefined, 'meta')
  const iloc = meta && (await boxes.find({ start: meta.start + 4, end: meta.end }, 'iloc'))
  const items = iloc ? locateItems(await boxes.content(iloc, MAX_TABLE_BYTES), undefined) : new Map()
  const movie = await boxes.find(undefined, 'moov')
  const media = await boxes.find(undefined, 'mdat')
  let frames = 0
  let tracks = 0
  if (movie && media)
    for await (const track of boxes.boxes(movie))
      if (track.type === 'trak' && tracks++ < MAX_TRACKS) frames += await bytesOfFrames(boxes, track)
  // The frames are in the box of media data.
  const present = media ? Math.min(frames, media.end - media.start) : 0
  return sumOf([...items.values()].flat(), bytes.size) + present
}

async function bytesOfFrames(boxes: BoxReader, track: Range) {
  const box = await boxes.find(track, 'mdia', 'minf', 'stbl', 'stsz')
  const sizes = box ? await boxes.content(box, MAX_TABLE_BYTES) : Buffer.alloc(0)
  if (sizes.length < 12) return 0
  const [each, count] = [sizes.readUInt32BE(4), sizes.readUInt32BE(8)]
  if (each > 0) return each * count
  let sum = 0
  for (let at = 12; at + 4 <= sizes.length; at += 4) sum += sizes.readUInt32BE(at)
  return sum
}

const SOC = 0xff4f
const SOT = 0xff90
const EOC = 0xffd9

/** The header and the tile-parts of a JPEG 2000 (ISO/IEC 15444-1 annex A), bare or in a box. */
async function bytesOfCodestream(bytes: Bytes) {
  const isBare = (await bytes.read(0, 1))[0] === 0xff
  const box = isBare ? undefined : await readBoxes(bytes).find(undefined, 'jp2c')
  const start = box?.start ?? 0
  const marker = async (at: number) => {
    const head = await bytes.read(at, 12)
    return head.length < 4 ? undefined : { code: head.readUInt16BE(), head }
  }
  if ((!isBare && !box) || (await marker(start))?.code !== SOC) return 0
  let at = start + 2
  let tiles = 0
  for (let found = await marker(at); found && found.code !== EOC; found = await marker(at)) {
    if (found.code >> 8 !== 0xff || tiles > MAX_TILE_PARTS) return 0
    // A tile-part has its length at 6; other segments of the main header have it at 2.
    const length = found.code === SOT && found.head.length === 12 ? found.head.readUInt32BE(6) : 0
    if (found.code === SOT) tiles++
    else if (tiles > 0) return 0
    if (found.code === SOT && length < 14) return 0
    at += found.code === SOT ? length : 2 + found.head.readUInt16BE(2)
  }
  return tiles > 0 ? Math.min(at, bytes.size) : 0
}
