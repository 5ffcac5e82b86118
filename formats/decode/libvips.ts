import sharp, { type SharpOptions } from 'sharp'
import type { Source } from '../headers/bytes.ts'
import { type Pixels, shrink } from './thumbnail.ts'
import { damage, decoderLimit, excess, type Undecodable, unsupported } from './undecodable.ts'

/** The maximum of pixels of one picture. Decoding more would take minutes, or all memory. */
export const MAX_PIXELS = 2 ** 28

// Channels of a picture: colours and alpha, and the spot colours of printers. sharp's default is 5.
const MAX_CHANNELS = 16

/** A whole file: its bytes, or its path. */
export type WholeFile = Exclude<Source, Buffer[]>

/**
 * How a picture is decoded.
 *
 * - `strict`: any error or warning of the decoder is a failure.
 * - `unlimited`: as strict, but without the decoder's own limits. Ours remain: pixels, bytes, time and memory.
 * - `lenient`: as unlimited, but the decoder makes a picture of what it can read.
 */
export type Mode = 'strict' | 'unlimited' | 'lenient'

/**
 * Decodes with libvips, and returns only a small picture. Rows are read one after the other, so a large picture takes
 * little memory.
 *
 * @throws {Undecodable}
 */
export async function decodeByLibvips(
  file: WholeFile,
  mode: Mode,
  options: SharpOptions = {},
  side?: number,
): Promise<Pixels> {
  try {
    return await shrink(open(file, mode, options), side)
  } catch (error) {
    throw explain((error as Error).message)
  }
}

/** Opens a picture for decoding with libvips. */
export function open(file: WholeFile, mode: Mode, options: SharpOptions = {}) {
  // libvips caches by path, and would not notice that another file has taken its place.
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

// libvips reports each error as a text of its own or of a library below it. test/formats/decode/messages.test.ts checks
// each text against the installed version.
const OWN_LIMIT_MESSAGES = ['exceeds pixel limit']
const LIMIT_MESSAGES = [
  'exceeds channel limit',
  'Security limit exceeded',
  'Resource limit exceeded',
  'Excessive depth in document',
]
const UNSUPPORTED_MESSAGES = [
  'no known route from',
  'can not handle image',
  'compression support is not configured',
  'bad dimensions',
  'Error while loading plugin',
]

/** The failure that a message of libvips stands for. */
export function explain(message: string): Undecodable {
  const detail = lastLine(message)
  const has = (texts: string[]) => texts.some((text) => message.includes(text))
  if (has(OWN_LIMIT_MESSAGES)) return excess(`the image has too many pixels (${detail})`)
  if (has(LIMIT_MESSAGES)) return decoderLimit(detail)
  return has(UNSUPPORTED_MESSAGES) ? unsupported(detail) : damage(detail)
}

/** The decoder stopped at its last message, which can begin with the path of the file. */
const lastLine = (message: string) =>
  (message.trim().split('\n').at(-1) ?? '').replace(/^\S*[/\\]\S*:? |:?\s*$/g, '').slice(0, 200)
