import type { Bytes } from './bytes.ts'
import { colourSpaceOf } from './colour.ts'
import type { HeaderReader } from './header.ts'
import { type Box, boxes, content, find } from './isobmff.ts'
import { readBySharp } from './sharp.ts'

/**
 * HEIF and AVIF (ISO/IEC 23008-12): a still picture, a sequence, or both. Size and turning come from the primary item's
 * own properties, since libvips tells the size after turning and not how it turned; the rest is from libvips.
 */
export const readHeif: HeaderReader = async ({ bytes, source }) => {
  const meta = await find(bytes, undefined, 'meta')
  const still = meta && (await readPrimaryItem(bytes, { start: meta.start + 4, end: meta.end }))
  const sequence = await readSequence(bytes)
  const picture = still ?? sequence
  if (!picture) return undefined
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
  }
}

type Range = Omit<Box, 'type'>

const TABLE_BYTES = 2 ** 20

async function readPrimaryItem(bytes: Bytes, meta: Range) {
  const primary = await find(bytes, meta, 'pitm')
  const container = await find(bytes, meta, 'iprp', 'ipco')
  const associations = await find(bytes, meta, 'iprp', 'ipma')
  if (!primary || !container || !associations) return undefined
  const table = await content(bytes, primary, 8)
  const idBytes = table[0] === 0 ? 2 : 4
  const item = table.length < 4 + idBytes ? undefined : table.readUIntBE(4, idBytes)
  const indices = propertiesOf(item, await content(bytes, associations, TABLE_BYTES))
  const properties = await Array.fromAsync(boxes(bytes, container.start, container.end))

  const found = {
    width: 0,
    height: 0,
    bitDepth: undefined as number | undefined,
    colourSpace: undefined as string | undefined,
  }
  let turning: Turning = { mirrored: false, turns: 0 }
  for (const index of indices) {
    const property = properties[index - 1]
    if (!property) continue
    const value = await content(bytes, property, 16)
    if (property.type === 'ispe' && value.length >= 12) {
      found.width = value.readUInt32BE(4)
      found.height = value.readUInt32BE(8)
    }
    if (property.type === 'irot' && value.length >= 1) turning = turn(turning, -(value[0]! & 3))
    if (property.type === 'imir' && value.length >= 1) turning = mirror(turning, value[0]! & 1)
    if (property.type === 'pixi' && value.length >= 6) found.bitDepth = value[5]
    if (property.type === 'colr' && value.length >= 8 && value.toString('latin1', 0, 4) === 'nclx')
      found.colourSpace = colourSpaceOf(value.readUInt16BE(4), value.readUInt16BE(6))
  }
  return found.width > 0 && found.height > 0 ? { ...found, orientation: orientationOf(turning) } : undefined
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
      const there = Math.min(count, Math.floor((table.length - at) / indexBytes))
      // The first bit says only whether a reader must know the property.
      return Array.from(
        { length: there },
        (_, i) => table.readUIntBE(at + i * indexBytes, indexBytes) & (wide ? 0x7fff : 0x7f),
      )
    }
    at += count * indexBytes
  }
  return []
}

/** A picture's turning: mirrored left to right or not, then by so many quarter turns clockwise. */
interface Turning {
  mirrored: boolean
  turns: number
}

const quarter = (turns: number) => ((turns % 4) + 4) % 4
const turn = ({ mirrored, turns }: Turning, by: number) => ({ mirrored, turns: quarter(turns + by) })
// Axis 0 exchanges top and bottom, which is left and right with a half turn. That is what libheif and libavif do; the
// words of ISO/IEC 23008-12 §6.5.12 are not the same in all its editions.
const mirror = ({ mirrored, turns }: Turning, axis: number) => ({
  mirrored: !mirrored,
  turns: quarter((axis === 0 ? 2 : 0) - turns),
})

// The values of Exif's Orientation (CIPA DC-008), by quarter turns; undefined for what is not turned at all.
const STRAIGHT = [undefined, 6, 3, 8]
const MIRRORED = [2, 7, 4, 5]
const orientationOf = ({ mirrored, turns }: Turning) => (mirrored ? MIRRORED : STRAIGHT)[turns]

// Pictures, their transparency, thumbnails.
const MOST_TRACKS = 16

/** The first track of pictures: how many there are, for how long, and how large. */
async function readSequence(bytes: Bytes) {
  const movie = await find(bytes, undefined, 'moov')
  if (!movie) return undefined
  let tracks = 0
  for await (const track of boxes(bytes, movie.start, movie.end)) {
    if (track.type !== 'trak') continue
    if (++tracks > MOST_TRACKS) break
    const part = async (most: number, ...path: string[]) => {
      const box = await find(bytes, track, ...path)
      return box ? content(bytes, box, most) : Buffer.alloc(0)
    }
    const handler = (await part(12, 'mdia', 'hdlr')).toString('latin1', 8, 12)
    const header = await part(96, 'tkhd')
    const media = await part(32, 'mdia', 'mdhd')
    const sizes = await part(12, 'mdia', 'minf', 'stbl', 'stsz')
    const long = header[0] === 1 ? 12 : 0
    if (!/^(pict|vide)$/.test(handler) || header.length < 84 + long) continue
    return {
      // Numbers with 16 bits after the point.
      width: header.readUInt16BE(76 + long),
      height: header.readUInt16BE(80 + long),
      frames: sizes.length < 12 ? undefined : sizes.readUInt32BE(8),
      duration: mediaDuration(media),
    }
  }
  return undefined
}

/** Milliseconds, of a media header box (ISO/IEC 14496-12 §8.4.2). */
function mediaDuration(header: Buffer) {
  const long = header[0] === 1
  if (header.length < (long ? 32 : 20)) return undefined
  const scale = header.readUInt32BE(long ? 20 : 12)
  const duration = long ? Number(header.readBigUInt64BE(24)) : header.readUInt32BE(16)
  const unknown = long ? 2 ** 64 : 2 ** 32 - 1
  return scale === 0 || duration === unknown ? undefined : (duration * 1000) / scale
}
