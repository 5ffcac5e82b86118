import { readFile } from 'node:fs/promises'
import sharp, { type SharpOptions } from 'sharp'
import type { Source } from '../headers/bytes.ts'
import { type Pixels, shrink } from './thumbnail.ts'
import { damage, decoderLimit, excess, Undecodable, unsupported } from './undecodable.ts'

/** The maximum of pixels of one picture. Decoding more would take minutes, or all memory. */
export const MAX_PIXELS = 2 ** 28

// Channels of a picture: colours and alpha, and the spot colours of printers. sharp's default is 5.
const MAX_CHANNELS = 16

/** A whole file: its bytes, or its path. */
export type WholeFile = Exclude<Source, Buffer[]>

/** The bytes of a whole file. */
export const readWhole = async (file: WholeFile) => (Buffer.isBuffer(file) ? file : readFile(file.path))

/**
 * How a picture is decoded.
 *
 * - `strict`: any error or warning of the decoder is a failure.
 * - `unlimited`: like strict, but without the decoder's own limits. Our limits remain: pixels, bytes, time and memory.
 * - `lenient`: like unlimited, but the decoder makes a picture from the bytes that it can read.
 */
export type Mode = 'strict' | 'unlimited' | 'lenient'

/**
 * Decodes with libvips, and returns only a small picture. Rows are read one after the other, so a large picture takes
 * little memory.
 *
 * @param side the longest side of the result, in pixels
 * @param whole whether all rows have to be decoded in full size. Otherwise libjpeg makes the picture smaller itself.
 * @throws {Undecodable}
 */
export async function decodeByLibvips(
  file: WholeFile,
  mode: Mode,
  options: SharpOptions = {},
  { side, whole = false }: { side?: number; whole?: boolean } = {},
): Promise<Pixels> {
  try {
    const picture = open(file, mode, options)
    if (!whole) return await shrink(picture, side)
    const { width, height } = await picture.metadata()
    return await shrink(picture.extract({ left: 0, top: 0, width, height }), side)
  } catch (error) {
    throw explain((error as Error).message)
  }
}

/** Opens a picture for decoding with libvips. */
export function open(file: WholeFile, mode: Mode, options: SharpOptions = {}) {
  // libvips caches by path, and would not notice that the file was replaced.
  sharp.cache(false)
  return sharp(Buffer.isBuffer(file) ? file : file.path, {
    failOn: mode === 'lenient' ? 'none' : 'error',
    unlimited: mode !== 'strict',
    limitInputPixels: MAX_PIXELS,
    limitInputChannels: MAX_CHANNELS,
    sequentialRead: true,
    ...options,
  })
}

// libvips reports an error only as a text, which is its own or that of a library below it. test/formats/decode/messages.test.ts
// checks each of these texts against the installed version.
export const MESSAGES = {
  // librsvg's limit of references is off with `unlimited`, but the time for them has no bound.
  'own limit': ['exceeds pixel limit', 'exceeded more than'],
  limit: [
    'exceeds channel limit',
    'Security limit exceeded',
    // libxml2's XML_ERR_RESOURCE_LIMIT
    'Error domain 1 code 114 ',
    'out of memory',
    'nsufficient memory',
  ],
  unsupported: [
    'unsupported image format',
    'Unsupported feature',
    'no known route from',
    'can not handle image',
    'is not configured',
    'not implemented',
    'bad dimensions',
    'Error while loading plugin',
    // libvips calls a TIFF corrupt if it does not support its kind.
    'corrupt header: tiff2vips',
  ],
  // The loaders, whose messages begin with their names. Other parts of libvips do not read the file.
  damage: [
    'VipsJpeg: ',
    'vipspng: ',
    'gifload',
    'webp',
    'tiff2vips: ',
    'heif: ',
    'XML parse error',
    'has corrupt header',
  ],
}

/** The failure that a message of libvips stands for. An unknown message does not make an image corrupt. */
export function explain(message: string): Undecodable {
  const detail = lastLine(message)
  const has = (texts: string[]) => texts.some((text) => message.includes(text))
  if (has(MESSAGES['own limit'])) return excess(`the image exceeds a limit (${detail})`)
  if (has(MESSAGES.limit)) return decoderLimit(detail)
  if (has(MESSAGES.unsupported)) return unsupported(detail)
  return has(MESSAGES.damage)
    ? damage(detail)
    : new Undecodable('unknown', `the decoder has failed (${detail})`)
}

/** The decoder stopped at its last message, which can begin with the path of the file. An encoder that then has no pixels adds one. */
const lastLine = (message: string) =>
  (
    message
      .replace(/^.*unable to write to target.*$/gm, '')
      .trim()
      .split('\n')
      .at(-1) ?? ''
  )
    .replace(/^\S*[/\\]\S*:? |:?\s*$/g, '')
    .slice(0, 200)
