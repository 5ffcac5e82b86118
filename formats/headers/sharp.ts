import type { Metadata as SharpMetadata } from 'sharp'
import { bytesOf, type Source } from './bytes.ts'
import type { Header } from './header.ts'
import { exifDirectories } from './tags.ts'
import { openExif } from './tiff.ts'

/** What libvips reads of a header, without decoding a pixel; undefined where it can't. */
export async function readBySharp(source: Source): Promise<Header | undefined> {
  // Loaded with the first picture that is no JPEG: it takes 10 MB of memory.
  const { default: sharp } = await import('sharp')
  // libvips remembers what it read of a path, even when another file has taken its place.
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
    exif: exif && (await exifDirectories(await openExif(bytesOf(exif)))),
    xmp,
    icc,
  }
}

// A picture that says nothing of its colours is meant to be in sRGB (CSS Color 4).
const SPACES: Record<string, string> = {
  srgb: 'sRGB',
  rgb: 'sRGB',
  rgb16: 'sRGB',
  'b-w': 'grey',
  grey16: 'grey',
  cmyk: 'CMYK',
  lab: 'Lab',
}
