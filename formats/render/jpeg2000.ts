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
const CMYK = 5

/** Decodes a JPEG 2000 by OpenJPEG in WebAssembly. @throws {Unrenderable | Undecodable} */
export async function decodeJpeg2000(file: Buffer, mediaType: string): Promise<RawPixels> {
  const header = await withBytes(file, (bytes) => readJpeg2000({ bytes, source: file, mediaType }))
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
    // The JavaScript interface of OpenJPEG takes only pictures of one or three components.
    if (header?.hasAlpha) throw new Unrenderable('There is no decoder for JPEG 2000 with transparency.')
    throw damage(`OpenJPEG: ${String((error as Error).message ?? error).slice(0, 200)}`)
  }
  const { width, height, bitsPerSample, componentCount, isSigned } = decoder.getFrameInfo()
  if (width * height === 0) throw damage('OpenJPEG')
  if (componentCount > 4 || isSigned)
    throw new Unrenderable(`There is no decoder for JPEG 2000 with ${componentCount} components.`)
  const space = decoder.getColorSpace()
  const data = toBytes(decoder.getDecodedBuffer(), bitsPerSample, width * height * componentCount)
  if (space === SYCC && componentCount >= 3) toRgb(data, componentCount)
  const isCmyk = space === CMYK || header?.colourSpace === 'CMYK'
  return { data, width, height, channels: componentCount as RawPixels['channels'], icc: header?.icc, isCmyk }
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
