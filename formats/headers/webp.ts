import type { Bytes } from './bytes.ts'
import { openBlock } from './exif.ts'
import { type Header, type HeaderReader, MAX_BLOCK_BYTES } from './header.ts'

// A film of 10 minutes with 60 frames per second has 36,000.
const MAX_CHUNKS = 100_000
const ALPHA_FLAG = 0x10

/**
 * WebP (RFC 9649). Chunks are read whether or not the flags of VP8X announce them, as ExifTool does: some writers forget
 * the flags. Browsers do not turn a WebP by its Exif.
 */
export const readWebp: HeaderReader = async ({ bytes }) => {
  const found: Header = { bitDepth: 8, colourSpace: 'sRGB' }
  let at = 12
  for (let count = 0; count < MAX_CHUNKS; count++) {
    const head = await bytes.read(at, 8)
    if (head.length < 8) break
    const size = head.readUInt32LE(4)
    await readChunk(bytes, head.toString('latin1', 0, 4), at + 8, size, found)
    at += 8 + size + (size & 1)
  }
  return found.width ? found : undefined
}

async function readChunk(bytes: Bytes, type: string, start: number, size: number, found: Header) {
  const data = (max: number) => bytes.read(start, Math.min(size, max))
  switch (type) {
    case 'VP8X':
      if (!found.width) Object.assign(found, canvas(await data(10)))
      break
    case 'VP8 ':
      if (!found.width) Object.assign(found, lossyFrame(await data(10)))
      break
    case 'VP8L':
      if (!found.width) Object.assign(found, losslessFrame(await data(5)))
      break
    case 'ANMF': {
      const frame = await data(16)
      if (frame.length < 16) break
      found.frames = (found.frames ?? 0) + 1
      found.duration = (found.duration ?? 0) + frame.readUIntLE(12, 3)
      break
    }
    case 'ICCP':
      found.icc ??= await data(MAX_BLOCK_BYTES)
      break
    case 'EXIF':
      found.exif ??= await openBlock(await data(MAX_BLOCK_BYTES), { container: 'WebP' })
      break
    case 'XMP ':
    case 'XMP\0': // of a Sony camera's firmware
      found.xmp ??= await data(MAX_BLOCK_BYTES)
  }
}

const canvas = (data: Buffer) =>
  data.length < 10
    ? {}
    : {
        width: data.readUIntLE(4, 3) + 1,
        height: data.readUIntLE(7, 3) + 1,
        hasAlpha: (data[0]! & ALPHA_FLAG) !== 0,
      }

/** RFC 6386 §9.1: the size is behind the frame tag and the start code. */
const lossyFrame = (data: Buffer) =>
  data.length < 10 || data.readUIntBE(3, 3) !== 0x9d012a
    ? {}
    : { width: data.readUInt16LE(6) & 0x3fff, height: data.readUInt16LE(8) & 0x3fff, hasAlpha: false }

/** RFC 9649 §3.4: 14 bits for each side less one, and a bit for alpha. */
function losslessFrame(data: Buffer) {
  if (data.length < 5 || data[0] !== 0x2f) return {}
  const bits = data.readUInt32LE(1)
  return {
    width: (bits & 0x3fff) + 1,
    height: ((bits >>> 14) & 0x3fff) + 1,
    hasAlpha: (bits & (2 ** 28)) !== 0,
  }
}
