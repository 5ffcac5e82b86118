import { crc32 } from 'node:zlib'
import { MOST_EXIF_BYTES, orientationOnly } from './allowed.ts'
import { CannotStrip, createPlan, type Plan } from './plan.ts'
import type { Reader } from './reader.ts'

const SIGNATURE = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1')

/**
 * The chunks that are kept, with the most bytes that each may have: those without which the picture can't be shown, or
 * would be shown in other colours, another size or without its motion (W3C PNG, third edition, §11). Of the others
 * text (tEXt, zTXt, iTXt) and times go, and so do suggested palettes, histograms and all that is private: they can
 * be named or filled at will, and no picture is shown differently without them.
 */
const kept = new Map([
  ['IHDR', 13],
  ['PLTE', 768],
  ['IDAT', Number.POSITIVE_INFINITY],
  ['IEND', 0],
  // Transparency and colour.
  ['tRNS', 256],
  ['cICP', 4],
  ['iCCP', Number.POSITIVE_INFINITY],
  ['sRGB', 1],
  ['gAMA', 4],
  ['cHRM', 32],
  ['sBIT', 4],
  ['mDCV', 24],
  ['cLLI', 8],
  ['bKGD', 6],
  // The shape of a pixel.
  ['pHYs', 9],
  // Motion (APNG).
  ['acTL', 8],
  ['fcTL', 26],
  ['fdAT', Number.POSITIVE_INFINITY],
])

/**
 * Plans a PNG or APNG without metadata. The CRC of each chunk that is kept must be right, so no damaged length can
 * carry metadata along. What comes after IEND goes.
 */
export async function planPng(reader: Reader): Promise<Plan> {
  const plan = createPlan()
  if (!(await reader.take(SIGNATURE.length)).equals(SIGNATURE)) throw new CannotStrip('it is no PNG')
  plan.copy(0, SIGNATURE.length)

  let hadExif = false
  for (;;) {
    const start = reader.position
    const header = await reader.takeHeader(8)
    const length = header.readUInt32BE()
    const type = header.toString('latin1', 4)
    if (!/^[A-Za-z]{4}$/.test(type)) throw new CannotStrip('it has a chunk without a type')
    if (start === SIGNATURE.length && type !== 'IHDR') throw new CannotStrip('it does not begin with IHDR')

    const most = kept.get(type)
    if (most !== undefined) {
      if (length > most) throw new CannotStrip(`its ${type} is too long`)
      const crc = await checksum(reader, length, crc32(header.subarray(4)))
      if ((await reader.take(4)).readUInt32BE() !== crc) throw new CannotStrip(`its ${type} is damaged`)
      plan.copy(start, reader.position)
      if (type === 'IEND') return plan
    } else if (isCritical(type)) {
      throw new CannotStrip(`it can't be shown without ${type}, which is not known`)
    } else if (type === 'eXIf' && !hadExif) {
      hadExif = true
      if (length > MOST_EXIF_BYTES) throw new CannotStrip('its Exif is too long')
      const orientation = orientationOnly(await reader.take(length))
      await reader.skip(4)
      if (orientation) plan.add(makeChunk('eXIf', orientation))
    } else {
      await reader.skip(length + 4)
    }
  }
}

/** Reads `length` bytes and tells their CRC, begun with `crc`. */
async function checksum(reader: Reader, length: number, crc: number) {
  let sum = crc
  for (let left = length; left > 0; ) {
    const bytes = (await reader.peek()).subarray(0, left)
    sum = crc32(bytes, sum)
    reader.advance(bytes.length)
    left -= bytes.length
  }
  return sum
}

function makeChunk(type: string, contents: Buffer) {
  const chunk = Buffer.concat([Buffer.alloc(4), Buffer.from(type, 'latin1'), contents, Buffer.alloc(4)])
  chunk.writeUInt32BE(contents.length)
  chunk.writeUInt32BE(crc32(chunk.subarray(4, -4)), chunk.length - 4)
  return chunk
}

/** An upper-case first letter: who does not know the chunk can't show the picture (W3C PNG §5.4). */
const isCritical = (type: string) => type[0]! < 'a'
