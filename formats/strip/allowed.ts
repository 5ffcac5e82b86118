import ExifReader from 'exifreader'

/** More than any camera writes: in JPEG an Exif segment has 64 KiB at most, in PNG and WebP it may have more. */
export const MOST_EXIF_BYTES = 2 ** 20

/**
 * Makes Exif (a TIFF structure, CIPA DC-008 §4.5) that says nothing but the orientation; undefined where `exif` has
 * none, or the one that needs no saying. `exif` may begin with `Exif` and two NULs.
 */
export function orientationOnly(exif: Buffer): Buffer | undefined {
  const tiff = exif.toString('latin1', 0, 4) === 'Exif' ? exif.subarray(6) : exif
  const orientation = readOrientation(tiff)
  if (orientation === undefined || orientation === 1) return undefined
  const minimal = Buffer.from('4d4d002a00000008000101120003000000010000000000000000', 'hex')
  minimal.writeUInt16BE(orientation, 18)
  return minimal
}

function readOrientation(tiff: Buffer) {
  try {
    const { exif } = ExifReader.load(tiff, { expanded: true, includeTags: { exif: ['Orientation'] } })
    const value = exif?.Orientation?.value
    return Number.isInteger(value) && value! >= 1 && value! <= 8 ? value : undefined
  } catch {
    return undefined // what can't be read turns no picture
  }
}

/** How much of a profile `isColourProfile` looks at. */
export const PROFILE_FRONT_BYTES = 40

/**
 * Whether a colour profile of `size` bytes begins like one and is as long as its header says (ICC.1 §7.2, padding to
 * 4 bytes allowed). If not, a damaged length may have made something else a part of it.
 */
export const isColourProfile = (front: Buffer, size: number) =>
  front.length >= PROFILE_FRONT_BYTES &&
  front.toString('latin1', 36, 40) === 'acsp' &&
  size >= front.readUInt32BE(0) &&
  size - front.readUInt32BE(0) < 4
