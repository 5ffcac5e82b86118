import { createRequire } from 'node:module'
import { damage, decoderLimit } from '../decode/undecodable.ts'
import { withBytes } from '../headers/bytes.ts'
import { readJpeg2000 } from '../headers/jpeg2000.ts'
import { toBytes } from './samples.ts'
import type { RawPixels } from './tiff-writer.ts'
import { Unrenderable } from './unrenderable.ts'

const WASM = createRequire(import.meta.url).resolve('@cornerstonejs/codec-openjpeg/decodewasm')

// OPJ_COLOR_SPACE (openjpeg.h)
const SYCC = 3
/** The slower decoder needs 0.3 s for a million pixels. */
const MAX_SLOW_PIXELS = 2 ** 25

type Decoded = Pick<RawPixels, 'width' | 'height'> & { data: Uint8Array; channels: number }

/**
 * Decodes a JPEG 2000: by OpenJPEG in WebAssembly, whose JavaScript interface takes only pictures of one or three
 * components, and others by a slower decoder.
 *
 * @throws {Unrenderable | Undecodable}
 */
export async function decodeJpeg2000(file: Buffer, mediaType: string): Promise<RawPixels> {
  const header = await withBytes(file, (bytes) => readJpeg2000({ bytes, source: file, mediaType }))
  const components = countComponents(file)
  const { data, width, height, channels } =
    components === 2 || components === 4
      ? await decodeSlowly(file, (header?.width ?? 0) * (header?.height ?? 0))
      : await decodeByOpenJpeg(file)
  if (channels > 4) throw new Unrenderable(`There is no decoder for JPEG 2000 with ${channels} components.`)
  const isCmyk = channels === 4 && header?.colourSpace === 'CMYK'
  return {
    data,
    width,
    height,
    channels: channels as RawPixels['channels'],
    icc: header?.icc,
    isCmyk,
  }
}

/** The number of components in the SIZ segment, with which a codestream begins (ISO/IEC 15444-1 §A.5.1). */
function countComponents(file: Buffer): number | undefined {
  const at = file.indexOf(Buffer.of(0xff, 0x4f, 0xff, 0x51))
  return at >= 0 && at + 42 <= file.length ? file.readUInt16BE(at + 40) : undefined
}

async function decodeByOpenJpeg(file: Buffer): Promise<Decoded> {
  const { default: load } = await import('@cornerstonejs/codec-openjpeg/decodewasmjs')
  const { J2KDecoder } = await load({ locateFile: () => WASM, print() {}, printErr() {} })
  const decoder = new J2KDecoder()
  try {
    decoder.getEncodedBuffer(file.length).set(file)
    decoder.decode()
  } catch (error) {
    // WebAssembly's own errors are a lack of memory. OpenJPEG throws numbers.
    if (error instanceof Error && /^(Runtime|Range)Error$/.test(error.name))
      throw decoderLimit(`OpenJPEG: ${error.message}`)
    throw damage(`OpenJPEG: ${String((error as Error).message ?? error).slice(0, 200)}`)
  }
  const { width, height, bitsPerSample, componentCount: channels, isSigned } = decoder.getFrameInfo()
  if (width * height === 0) throw damage('OpenJPEG')
  if (isSigned) throw new Unrenderable('There is no decoder for JPEG 2000 with signed samples.')
  const data = toBytes(decoder.getDecodedBuffer(), bitsPerSample, width * height * channels)
  if (decoder.getColorSpace() === SYCC && channels >= 3) toRgb(data, channels)
  return { data, width, height, channels }
}

/** Decodes a picture of 8 bits by jpeg2000, which is JavaScript. */
async function decodeSlowly(file: Buffer, pixels: number): Promise<Decoded> {
  if (pixels > MAX_SLOW_PIXELS)
    throw new Unrenderable('JPEG 2000 with two or four components is decoded up to 33 million pixels.')
  const { JpxImage } = (await import('jpeg2000')).default
  const image = new JpxImage()
  try {
    image.parse(file)
  } catch (error) {
    throw damage(`jpeg2000: ${String((error as Error).message ?? error).slice(0, 200)}`)
  }
  const { width, height, componentsCount: channels, tiles } = image
  const data = new Uint8Array(width * height * channels)
  // Tiles are placed on the reference grid, on which the picture need not begin at 0.
  const [left, top] = [
    Math.min(...tiles.map((tile) => tile.left)),
    Math.min(...tiles.map((tile) => tile.top)),
  ]
  for (const tile of tiles)
    for (let y = 0; y < tile.height; y++) {
      const row = tile.items.subarray(y * tile.width * channels, (y + 1) * tile.width * channels)
      const to = ((tile.top - top + y) * width + tile.left - left) * channels
      if (to + row.length > data.length) throw damage('jpeg2000')
      data.set(row, to)
    }
  return { data, width, height, channels }
}

/** YCbCr to RGB, in place (ITU-R BT.601, full range). */
function toRgb(data: Uint8Array, channels: number) {
  const clamped = new Uint8ClampedArray(data.buffer, data.byteOffset, data.length)
  for (let at = 0; at + 2 < data.length; at += channels) {
    const [y, cb, cr] = [data[at]!, data[at + 1]! - 128, data[at + 2]! - 128]
    clamped[at] = y + 1.402 * cr
    clamped[at + 1] = y - 0.344136 * cb - 0.714136 * cr
    clamped[at + 2] = y + 1.772 * cb
  }
}
