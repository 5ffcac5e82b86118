import { randomBytes } from 'node:crypto'
import sharp from 'sharp'

/** Creates a JPEG with Exif of exactly `bytes` bytes: noise, and random bytes after its end. */
export async function makeJpeg(bytes: number): Promise<Buffer> {
  // A JPEG of noise has about two bytes per pixel.
  const side = Math.max(16, Math.floor(Math.sqrt(Math.min(bytes, 400_000) / 3.5)))
  const jpeg = await sharp(randomBytes(side * side * 3), { raw: { width: side, height: side, channels: 3 } })
    .withExif({
      IFD0: { Make: 'Acme', Model: 'Bench 1', DateTime: '2026:11:01 12:00:00' },
      IFD2: { DateTimeOriginal: '2026:11:01 12:00:00' },
    })
    .jpeg({ quality: 90 })
    .toBuffer()
  if (jpeg.length > bytes) throw new Error(`the JPEG has ${jpeg.length} bytes, not ${bytes}`)
  return Buffer.concat([jpeg, randomBytes(bytes - jpeg.length)])
}

export interface Size {
  width: number
  height: number
}

/** A JPEG with Exif that compresses like a photograph. */
export async function photograph({ width, height }: Size) {
  const noise = { raw: { width: width / 8, height: height / 8, channels: 3 as const } }
  return sharp(randomBytes((width / 8) * (height / 8) * 3), noise)
    .resize(width, height, { kernel: 'cubic' })
    .withExif({ IFD0: { Make: 'Acme', Model: 'Bench 1', DateTime: '2026:11:01 12:00:00' } })
    .jpeg({ quality: 90 })
    .toBuffer()
}
