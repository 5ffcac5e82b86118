import { colourSpaceOf } from './colour.ts'
import { openBlock } from './exif.ts'
import { type HeaderReader, MAX_BLOCK_BYTES } from './header.ts'
import { readTagItems } from './heif-items.ts'
import { type BoxReader, type Range, readBoxes } from './isobmff.ts'
import { readBySharp } from './sharp.ts'

/**
 * HEIF and AVIF (ISO/IEC 23008-12): a still picture, a sequence, or both. Size and orientation are read from the
 * properties of the primary item, because libvips reports the size after turning. Tags are read from their items,
 * because libvips opens neither sequences nor files with more than 256 items.
 */
export const readHeif: HeaderReader = async ({ bytes, source }) => {
  const boxes = readBoxes(bytes)
  const box = await boxes.find(undefined, 'meta')
  const meta = box && { start: box.start + 4, end: box.end }
  const still = meta && (await readPrimaryItem(boxes, meta))
  const sequence = await readSequence(boxes)
  const picture = still ?? sequence
  if (!picture) return undefined
  const tags: { exif?: Buffer | undefined; xmp?: Buffer | undefined } = meta
    ? await readTagItems(bytes, boxes, meta)
    : {}
  const decoded = await readBySharp(source)
  return {
    ...decoded,
    width: picture.width,
    height: picture.height,
    orientation: still?.orientation,
    frames: sequence?.frames ?? decoded?.frames,
    duration: sequence?.duration,
    bitDepth: decoded?.bitDepth ?? still?.bitDepth,
    colourSpace: still?.colourSpace ?? decoded?.colourSpace,
    icc: decoded?.icc ?? still?.icc,
    exif: tags.exif && (await openBlock(tags.exif, { container: 'other' })),
    xmp: tags.xmp,
  }
}

const MAX_TABLE_BYTES = 2 ** 20

async function readPrimaryItem(boxes: BoxReader, meta: Range) {
  const primary = await boxes.find(meta, 'pitm')
  const container = await boxes.find(meta, 'iprp', 'ipco')
  const associations = await boxes.find(meta, 'iprp', 'ipma')
  if (!primary || !container || !associations) return undefined
  const table = await boxes.content(primary, 8)
  const idBytes = table[0] === 0 ? 2 : 4
  const item = table.length < 4 + idBytes ? undefined : table.readUIntBE(4, idBytes)
  const indices = propertiesOf(item, await boxes.content(associations, MAX_TABLE_BYTES))
  const properties = await Array.fromAsync(boxes.boxes(container))
  const found: Properties = { width: 0, height: 0, turning: { mirrored: false, turns: 0 } }
  for (const index of indices) {
    const property = properties[index - 1]
    if (property) await readProperty(boxes, property, found)
  }
  const { turning, ...picture } = found
  return picture.width > 0 && picture.height > 0
    ? { ...picture, orientation: orientationOf(turning) }
    : undefined
}

interface Properties {
  width: number
  height: number
  turning: Turning
  bitDepth?: number | undefined
  colourSpace?: string | undefined
  icc?: Buffer
}

async function readProperty(boxes: BoxReader, property: Range & { type: string }, found: Properties) {
  const value = await boxes.content(property, 16)
  if (property.type === 'ispe' && value.length >= 12) {
    found.width = value.readUInt32BE(4)
    found.height = value.readUInt32BE(8)
  }
  if (property.type === 'irot' && value.length >= 1) found.turning = turn(found.turning, -(value[0]! & 3))
  if (property.type === 'imir' && value.length >= 1) found.turning = mirror(found.turning, value[0]! & 1)
  if (property.type === 'pixi' && value.length >= 6) found.bitDepth = value[5]
  if (property.type !== 'colr' || value.length < 8) return
  const kind = value.toString('latin1', 0, 4)
  if (kind === 'nclx') found.colourSpace = colourSpaceOf(value.readUInt16BE(4), value.readUInt16BE(6))
  else if (kind === 'prof' || kind === 'rICC')
    found.icc = (await boxes.content(property, MAX_BLOCK_BYTES)).subarray(4)
}

/** The numbers of an item's properties, from 1, in the order in which they apply (ItemPropertyAssociationBox). */
function propertiesOf(item: number | undefined, table: Buffer) {
  if (item === undefined || table.length < 8) return []
  const idBytes = table[0] === 0 ? 2 : 4
  const wide = (table[3]! & 1) === 1
  const indexBytes = wide ? 2 : 1
  let at = 8
  for (let left = table.readUInt32BE(4); left > 0 && at + idBytes + 1 <= table.length; left--) {
    const id = table.readUIntBE(at, idBytes)
    const count = table[at + idBytes]!
    at += idBytes + 1
    if (id === item) {
      const available = Math.min(count, Math.floor((table.length - at) / indexBytes))
      // The first bit only marks properties that a reader must support.
      return Array.from(
        { length: available },
        (_, i) => table.readUIntBE(at + i * indexBytes, indexBytes) & (wide ? 0x7fff : 0x7f),
      )
    }
    at += count * indexBytes
  }
  return []
}

/** How a picture is turned: mirrored left to right or not, then by quarter turns clockwise. */
interface Turning {
  mirrored: boolean
  turns: number
}

const quarter = (turns: number) => ((turns % 4) + 4) % 4
const turn = ({ mirrored, turns }: Turning, by: number) => ({ mirrored, turns: quarter(turns + by) })
// Axis 0 exchanges top and bottom: left and right, and a half turn. libheif and libavif do so. The editions of ISO/IEC
// 23008-12 differ here (§6.5.12).
const mirror = ({ mirrored, turns }: Turning, axis: number) => ({
  mirrored: !mirrored,
  turns: quarter((axis === 0 ? 2 : 0) - turns),
})

// The values of Exif's Orientation (CIPA DC-008), by quarter turns; undefined for a picture that is not turned.
const STRAIGHT = [undefined, 6, 3, 8]
const MIRRORED = [2, 7, 4, 5]
const orientationOf = ({ mirrored, turns }: Turning) => (mirrored ? MIRRORED : STRAIGHT)[turns]

// Pictures, their transparency, thumbnails.
const MAX_TRACKS = 16

/** The first track of pictures: its size, the number of its frames, and its duration. */
async function readSequence(boxes: BoxReader) {
  const movie = await boxes.find(undefined, 'moov')
  if (!movie) return undefined
  let tracks = 0
  for await (const track of boxes.boxes(movie)) {
    if (track.type !== 'trak') continue
    if (++tracks > MAX_TRACKS) break
    const sequence = await readTrack(boxes, track)
    if (sequence) return sequence
  }
  return undefined
}

async function readTrack(boxes: BoxReader, track: Range) {
  const part = async (max: number, ...path: string[]) => {
    const box = await boxes.find(track, ...path)
    return box ? boxes.content(box, max) : Buffer.alloc(0)
  }
  const handler = (await part(12, 'mdia', 'hdlr')).toString('latin1', 8, 12)
  const header = await part(96, 'tkhd')
  const media = await part(32, 'mdia', 'mdhd')
  const sizes = await part(12, 'mdia', 'minf', 'stbl', 'stsz')
  const extra = header[0] === 1 ? 12 : 0
  if (!/^(pict|vide)$/.test(handler) || header.length < 84 + extra) return undefined
  return {
    // Numbers with 16 bits after the point.
    width: header.readUInt16BE(76 + extra),
    height: header.readUInt16BE(80 + extra),
    frames: sizes.length < 12 ? undefined : sizes.readUInt32BE(8),
    duration: mediaDuration(media),
  }
}

/** The duration in milliseconds, from a media header box (ISO/IEC 14496-12 §8.4.2). */
function mediaDuration(header: Buffer) {
  const long = header[0] === 1
  if (header.length < (long ? 32 : 20)) return undefined
  const scale = header.readUInt32BE(long ? 20 : 12)
  const duration = long ? Number(header.readBigUInt64BE(24)) : header.readUInt32BE(16)
  const unknown = long ? 2 ** 64 : 2 ** 32 - 1
  return scale === 0 || duration === unknown ? undefined : (duration * 1000) / scale
}
