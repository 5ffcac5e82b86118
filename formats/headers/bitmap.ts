import { imageSize } from 'image-size'
import type { HeaderReader } from './header.ts'

const CORE_HEADER = 12
const DIRECTORY_BYTES = 65_536

/** BMP of Windows and OS/2. image-size takes OS/2's header, which has shorter numbers, for Windows'. */
export const readBmp: HeaderReader = async ({ bytes }) => {
  const head = await bytes.read(0, 30)
  if (head.length < 30) return undefined
  if (head.readUInt32LE(14) === CORE_HEADER)
    return {
      width: head.readUInt16LE(18),
      height: head.readUInt16LE(20),
      bitDepth: sampleBits(head.readUInt16LE(24)),
    }
  return {
    width: head.readInt32LE(18),
    // Negative where the rows go from the top down.
    height: Math.abs(head.readInt32LE(22)),
    bitDepth: sampleBits(head.readUInt16LE(28)),
  }
}

/** Bits per sample by those per pixel: one sample up to 8 bits, three or four above. */
const sampleBits = (pixelBits: number) => (pixelBits <= 8 ? pixelBits : pixelBits === 16 ? 5 : 8)

/** ICO: the same picture in several sizes, of which the largest counts. */
export const readIco: HeaderReader = async ({ bytes }) => sizeOf(await bytes.read(0, DIRECTORY_BYTES))

/** The size by image-size; undefined where it finds none. */
export function sizeOf(head: Buffer) {
  try {
    // A copy, since image-size looks past the end of a view into what else is in memory.
    const { width, height } = imageSize(Uint8Array.from(head))
    return { width, height }
  } catch {
    return undefined
  }
}
