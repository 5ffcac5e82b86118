import type { Metadata } from '../schemas/images.ts'
import { formatOf } from './format.ts'
import { profileName } from './headers/colour.ts'
import { readExif } from './headers/exif.ts'
import type { Header } from './headers/header.ts'
import { ownOrientation } from './headers/orientation.ts'
import type { FoundTags } from './headers/tags.ts'

/**
 * The metadata by a header.
 *
 * @param sniffed the media type by the first bytes
 * @param parseXmp reads the tags of a packet that Exif does not have; absent: XMP is ignored
 */
export async function toMetadata(
  { exif, xmp, icc, ...picture }: Header,
  sniffed: string,
  parseXmp?: (packet: Buffer, fromExif: FoundTags) => FoundTags,
): Promise<Metadata> {
  const fromExif = exif ? await readExif(exif) : noTags
  const fromXmp = (xmp && parseXmp?.(xmp, fromExif)) ?? noTags
  const tags = { ...fromXmp, ...known(fromExif) }
  // The offset belongs to the time.
  if (fromExif.takenAt) tags.takenOffset = fromExif.takenOffset
  const size = { width: whole(picture.width), height: whole(picture.height) }
  const frames = whole(picture.frames)
  return {
    ...formatOf(picture.mediaType ?? sniffed)!,
    ...known({
      ...tags,
      ...(size.width && size.height && size),
      orientation:
        'orientation' in picture ? ownOrientation(picture.orientation, tags.orientation) : tags.orientation,
      ...(frames !== undefined && frames > 1 && { frames, duration: whole(picture.duration) }),
      bitDepth: whole(picture.bitDepth, 64),
      colourSpace:
        profileName(icc) ??
        (picture.colourSpace === 'sRGB' ? tags.colourSpace : undefined) ??
        picture.colourSpace,
      hasAlpha: picture.hasAlpha,
    }),
  }
}

const noTags: Partial<FoundTags> = {}

// Databases have 32-bit integers.
const MAX_INTEGER = 2 ** 31 - 1

/** An integer from 1 to `max`; undefined for any other number. */
const whole = (value: number | undefined, max = MAX_INTEGER) => {
  const rounded = Math.round(value ?? 0)
  return rounded >= 1 && rounded <= max ? rounded : undefined
}

type Known<T> = { [Name in keyof T]?: Exclude<T[Name], undefined> }

function known<T extends object>(found: T) {
  const result: Partial<T> = {}
  for (const name in found) if (found[name] !== undefined) result[name] = found[name]
  return result as Known<T>
}
