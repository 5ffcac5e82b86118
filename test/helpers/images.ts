import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import sharp from 'sharp'

export const SAMPLES = new URL('../../../shared/samples/', import.meta.url)

/** Why tests with real photographs are skipped; false where there are some. */
export const noSamples = existsSync(SAMPLES) ? false : 'the samples of real photographs are not here'

export const sample = (name: string) => readFileSync(new URL(name, SAMPLES))

/** Makes an image of random pixels, so that no two are equal. */
export async function makeImage(
  format: 'jpeg' | 'png' | 'webp' | 'gif' | 'tiff' | 'avif' = 'png',
  { width = 8, height = 6, model }: { width?: number; height?: number; model?: string } = {},
): Promise<Buffer> {
  const pixels = { raw: { width, height, channels: 3 as const } }
  const image = sharp(randomBytes(width * height * 3), pixels).toFormat(format)
  return (model ? image.withExif({ IFD0: { Make: 'Acme', Model: model } }) : image).toBuffer()
}

/** Makes a PNG with this number of random bytes after it. Each call returns different bytes. */
export const makePadded = async (bytes: number) => Buffer.concat([await makeImage(), randomBytes(bytes)])
