import type { HeaderReader } from './header.ts'

const CORE_HEADER = 12
const MAX_DIRECTORY_BYTES = 65_536

/** BMP of Windows and OS/2. The header of OS/2 has shorter numbers. */
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
    // Negative if the first row is the top one.
    height: Math.abs(head.readInt32LE(22)),
    bitDepth: sampleBits(head.readUInt16LE(28)),
  }
}

/** Bits per sample by bits per pixel: one sample up to 8 bits, three or four above. */
const sampleBits = (pixelBits: number) => (pixelBits <= 8 ? pixelBits : pixelBits === 16 ? 5 : 8)

/** ICO: the same picture in several sizes. The largest is reported, a side of 0 means 256 (Microsoft, ICONDIRENTRY). */
export const readIco: HeaderReader = async ({ bytes }) => {
  const directory = await bytes.read(0, MAX_DIRECTORY_BYTES)
  if (directory.length < 22) return undefined
  let largest = { width: 0, height: 0 }
  const end = 6 + 16 * directory.readUInt16LE(4)
  for (let at = 6; at < end && at + 16 <= directory.length; at += 16) {
    const [width, height] = [directory[at] || 256, directory[at + 1] || 256]
    if (width * height > largest.width * largest.height) largest = { width, height }
  }
  return largest
}
