import type { Directory } from './tiff.ts'

// This module decides which orientation counts. The reported orientation and the copy without metadata follow it, so a
// browser shows both in the same way. docs/formats.md lists the browsers in which the rules were measured.

const ORIENTATION = 0x0112
const SHORT = 3

/** Where a block of Exif is in a file. */
export interface ExifPosition {
  container: 'JPEG' | 'PNG' | 'WebP' | 'other'
  /** Bytes before the TIFF header in the block. */
  tiffAt: number
  /** Only for PNG: the block is in an eXIf chunk with a correct CRC, before the first IDAT. */
  isFirstAndBeforePixels?: boolean
}

/** Bytes before the TIFF header in a JPEG's segment: `Exif`, a NUL and any byte. */
export const JPEG_PREFIX_BYTES = 6

/** Whether browsers turn a picture by the Exif at a position. */
export function orients({ container, tiffAt, isFirstAndBeforePixels = false }: ExifPosition): boolean {
  switch (container) {
    case 'JPEG':
      return tiffAt === JPEG_PREFIX_BYTES
    case 'PNG':
      return tiffAt === 0 && isFirstAndBeforePixels
    case 'WebP':
      return false
    case 'other':
      return true
  }
}

/**
 * The valid orientations of a directory, in its order: SHORTs of count 1, from 1 to 8. Tags of another type count for no
 * browser. If there are several, the first counts, as in Chromium: TIFF 6.0 §2 allows a tag only once, so there is no
 * rule. Firefox uses the last.
 */
export async function orientationsOf(directory: Directory | undefined): Promise<number[]> {
  return (await orientationTags(directory)).filter((value) => value !== undefined)
}

/** The orientation tags of a directory, in its order: undefined for each that is not valid. */
async function orientationTags(directory: Directory | undefined): Promise<(number | undefined)[]> {
  const tags: (number | undefined)[] = []
  for (const entry of directory?.entriesOf(ORIENTATION) ?? []) {
    const isValid = entry.type === SHORT && entry.count === 1
    const [value = 0] = isValid ? await directory!.valuesOf(entry, 1) : []
    tags.push(value >= 1 && value <= 8 ? value : undefined)
  }
  return tags
}

/**
 * A short list of orientation tags that browsers treat as those of a directory: Chromium uses the first valid tag,
 * Firefox the last one before the first invalid one. Undefined if no browser turns the picture.
 */
export async function equivalentTags(
  directory: Directory | undefined,
): Promise<(number | undefined)[] | undefined> {
  const tags = await orientationTags(directory)
  const firstInvalid = tags.indexOf(undefined)
  const leading = firstInvalid < 0 ? tags : tags.slice(0, firstInvalid)
  const chromium = tags.find((value) => value !== undefined)
  const firefox = leading.at(-1)
  if ((chromium ?? 1) === 1 && (firefox ?? 1) === 1) return undefined
  if (firefox === undefined) return [undefined, chromium]
  return chromium === firefox ? [chromium] : [chromium, firefox]
}

/**
 * The orientation of a picture whose format has its own (HEIF, AVIF, JPEG XL). Decoders of these ignore Exif, so it
 * counts only where it says the same: that the picture is not turned.
 */
export const ownOrientation = (own: number | undefined, byExif: number | undefined) =>
  own ?? (byExif === 1 ? byExif : undefined)
