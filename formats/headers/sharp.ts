import type { Metadata as SharpMetadata } from 'sharp'
import type { Source } from './bytes.ts'
import { openBlock } from './exif.ts'
import type { Header } from './header.ts'

/** Reads a header with libvips, without decoding a pixel. Undefined if libvips cannot read it. */
export async function readBySharp(source: Source): Promise<Header | undefined> {
  // It is loaded when it is first needed, because it takes 10 MB of memory.
  const { default: sharp } = await import('sharp')
  // libvips caches by path, and would not notice that the file was replaced.
  sharp.cache(false)
  let found: SharpMetadata
  try {
    const whole = Array.isArray(source) ? Buffer.concat(source) : source
    found = await sharp(Buffer.isBuffer(whole) ? whole : whole.path, {
      limitInputPixels: false, // nothing is decoded
      failOn: 'none',
    }).metadata()
  } catch {
    return undefined
  }
  const { width, height, pages, delay, depth, bitsPerSample, space, hasAlpha, exif, xmp, icc } = found
  return {
    width,
    height,
    frames: pages,
    duration: delay?.reduce((total, milliseconds) => total + milliseconds, 0),
    bitDepth: bitsPerSample ?? (depth === 'uchar' ? 8 : undefined),
    colourSpace: space && SPACES[space],
    hasAlpha,
    exif: exif && (await openBlock(exif, { container: 'other' })),
    xmp,
    icc,
  }
}

// A picture without a colour space is sRGB (CSS Color 4).
const SPACES: Record<string, string> = {
  srgb: 'sRGB',
  rgb: 'sRGB',
  rgb16: 'sRGB',
  'b-w': 'grey',
  grey16: 'grey',
  cmyk: 'CMYK',
  lab: 'Lab',
}
