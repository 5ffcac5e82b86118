import { type Bytes, part } from './bytes.ts'
import { openBlock } from './exif.ts'
import { type Header, type HeaderReader, MAX_BLOCK_BYTES } from './header.ts'

// The colour modes, each with the number of its channels. Further channels are alpha channels.
const MODES: Record<number, { colourSpace?: string; channels: number }> = {
  0: { colourSpace: 'grey', channels: 1 },
  1: { colourSpace: 'grey', channels: 1 },
  2: { colourSpace: 'sRGB', channels: 1 },
  3: { colourSpace: 'sRGB', channels: 3 },
  4: { colourSpace: 'CMYK', channels: 4 },
  8: { colourSpace: 'grey', channels: 1 },
  9: { colourSpace: 'Lab', channels: 3 },
}

/** Photoshop's PSD and PSB (Adobe Photoshop File Formats Specification, File Header and Image Resources). */
export const readPsd: HeaderReader = async ({ bytes }) => {
  const head = await bytes.read(0, 30)
  if (head.length < 30) return undefined
  const mode = MODES[head.readUInt16BE(24)]
  const resources = 30 + head.readUInt32BE(26)
  return {
    height: head.readUInt32BE(14),
    width: head.readUInt32BE(18),
    bitDepth: head.readUInt16BE(22),
    colourSpace: mode?.colourSpace,
    hasAlpha: mode && head.readUInt16BE(12) > mode.channels,
    ...(await readResources(bytes, resources)),
  }
}

const EXIF = 1058
const XMP = 1060
const PROFILE = 1039
const MAX_RESOURCES = 1000

async function readResources(bytes: Bytes, start: number) {
  const found: Header = {}
  const length = await bytes.read(start, 4)
  const end = start + 4 + (length.length < 4 ? 0 : length.readUInt32BE(0))
  let at = start + 4
  for (let count = 0; count < MAX_RESOURCES && at + 12 <= end; count++) {
    const head = await bytes.read(at, 7)
    if (head.length < 7 || !/^(8BIM|MeSa|AgHg|PHUT|DCSR)/.test(head.toString('latin1'))) break
    const id = head.readUInt16BE(4)
    // A name, whose first byte is its length, padded to an even number.
    const name = (head[6]! + 2) & ~1
    const size = await bytes.read(at + 6 + name, 4)
    if (size.length < 4) break
    const data = at + 10 + name
    const next = data + size.readUInt32BE(0)
    const block = part(bytes, data, next)
    if (id === EXIF) found.exif ??= await openBlock(block, { container: 'other' })
    if (id === XMP) found.xmp ??= await block.read(0, MAX_BLOCK_BYTES)
    if (id === PROFILE) found.icc ??= await block.read(0, MAX_BLOCK_BYTES)
    at = next + (next & 1)
  }
  return found
}
