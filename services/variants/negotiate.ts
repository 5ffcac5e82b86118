import type { RenderFormat } from '../../formats/render/request.ts'
import { mediaTypes } from '../../formats/render/request.ts'
import { NotAcceptable } from '../errors.ts'

// A picture of these types may be transparent or have sharp edges. Without WebP and AVIF, it becomes a PNG.
const DRAWINGS = new Set([
  'image/png',
  'image/apng',
  'image/gif',
  'image/webp',
  'image/svg+xml',
  'image/x-icon',
])
const MAY_MOVE = new Set(['image/gif', 'image/webp'])

/**
 * The format of a variant with `format=auto`: the one with the highest weight in `Accept` (RFC 9110 §12.5.1), and the
 * smallest of those with the same weight. AVIF and WebP must be named, because clients that do not know them send `*` too.
 *
 * @param mediaType of the image
 * @throws {NotAcceptable}
 */
export function negotiate(accept: string | undefined, mediaType: string): RenderFormat {
  const classic: RenderFormat = DRAWINGS.has(mediaType) ? 'png' : 'jpeg'
  const other: RenderFormat = classic === 'png' ? 'jpeg' : 'png'
  if (accept === undefined || accept.trim() === '') return classic
  const ranges = parse(accept)
  const preference: RenderFormat[] = MAY_MOVE.has(mediaType)
    ? ['webp', 'avif', classic, other]
    : ['avif', 'webp', classic, other]
  let best: { format: RenderFormat; weight: number } | undefined
  for (const format of preference) {
    const weight = weightOf(ranges, format)
    if (weight > (best?.weight ?? 0)) best = { format, weight }
  }
  if (!best) throw new NotAcceptable()
  return best.format
}

function parse(accept: string) {
  const ranges = new Map<string, number>()
  for (const member of accept.slice(0, 1_000).split(',')) {
    const [range = '', ...parameters] = member.split(';').map((part) => part.trim().toLowerCase())
    const weight = parameters
      .map((each) => /^q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/.exec(each)?.[1])
      .find(Boolean)
    ranges.set(range, Number(weight ?? 1))
  }
  return ranges
}

function weightOf(ranges: Map<string, number>, format: RenderFormat) {
  const named = ranges.get(mediaTypes[format])
  if (named !== undefined || format === 'avif' || format === 'webp') return named ?? 0
  return ranges.get('image/*') ?? ranges.get('*/*') ?? 0
}
