import { bytesOf } from '../headers/bytes.ts'
import { equivalentTags, JPEG_PREFIX_BYTES } from '../headers/orientation.ts'
import { openTiff } from '../headers/tiff.ts'

/** More than any camera writes: in JPEG an Exif segment has at most 64 KiB, in PNG it can have more. */
export const MAX_EXIF_BYTES = 2 ** 20

/**
 * Reduces the blocks of Exif of a file to the orientation (CIPA DC-008 §4.5). Empty blocks before the one that decides
 * are kept: Chromium ignores them, Firefox does not.
 *
 * @param prefixBytes bytes before the TIFF header of a block
 * @returns a function that takes the next block of the file, and returns the blocks for the copy
 */
export function createExifReducer(prefixBytes: typeof JPEG_PREFIX_BYTES | 0) {
  const empty: Buffer[] = []
  let isDecided = false
  return async (block: Buffer): Promise<Buffer[]> => {
    if (isDecided) return []
    // Chromium ignores the last byte of the prefix, Firefox does not.
    const isPlain = (block[JPEG_PREFIX_BYTES - 1] ?? 0) === 0
    const prefix = Buffer.from(`Exif\0${isPlain ? '\0' : '\x01'}`, 'latin1').subarray(0, prefixBytes)
    if (block.length <= prefixBytes) {
      if (empty.length < MAX_EMPTY_BLOCKS) empty.push(prefix)
      return []
    }
    isDecided = true
    const exif = await minimalExif(block.subarray(prefixBytes))
    return exif ? [...empty, Buffer.concat([prefix, exif])] : []
  }
}

const MAX_EMPTY_BLOCKS = 2

const TIFF_HEADER = Buffer.from('4d4d002a00000008', 'hex')

/** Exif that has only the orientation tags; undefined if no browser turns the picture by them. */
async function minimalExif(exif: Buffer): Promise<Buffer | undefined> {
  if (!/^(II\*\0|MM\0\*)/.test(exif.toString('latin1', 0, 4))) return undefined
  const tiff = await openTiff(bytesOf(exif))
  const tags = await equivalentTags(await tiff?.directory(tiff.first))
  if (!tags) return undefined
  const count = Buffer.alloc(2)
  count.writeUInt16BE(tags.length)
  return Buffer.concat([TIFF_HEADER, count, ...tags.map(orientationEntry), Buffer.alloc(4)])
}

/** A SHORT, or a LONG for a tag that is not valid. */
function orientationEntry(value: number | undefined) {
  const entry = Buffer.from('011200030000000100000000', 'hex')
  if (value === undefined) entry[3] = 4
  else entry.writeUInt16BE(value, 8)
  return entry
}

/** The bytes of a profile that `profileSize` needs. */
export const PROFILE_FRONT_BYTES = 40

/**
 * The size of a colour profile by its header (ICC.1 §7.2); undefined if it does not begin like one. Bytes behind this
 * size are no part of it.
 */
export const profileSize = (front: Buffer): number | undefined =>
  front.length >= PROFILE_FRONT_BYTES && front.toString('latin1', 36, 40) === 'acsp'
    ? front.readUInt32BE(0)
    : undefined
