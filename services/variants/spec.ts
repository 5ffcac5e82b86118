import { MAX_SIDE, type RenderFormat, type RenderRequest } from '../../formats/render/request.ts'
import { InvalidVariant } from '../errors.ts'

/** The parameters of a variant in a URL. */
export interface VariantQuery {
  w?: string
  h?: string
  fit?: RenderRequest['fit']
  format?: RenderFormat | 'auto'
  q?: string
  dpr?: string
}

/** The parameters of a request. The format is chosen later if it is `auto`. */
export type Wanted = Omit<RenderRequest, 'format' | 'quality'> & {
  format: RenderFormat | 'auto'
  quality: number | undefined
}

/** Changes when the same parameters give another picture. Older variants are not found any more. */
const RENDER_VERSION = 2

const QUALITIES: Record<RenderFormat, number> = { avif: 50, webp: 75, jpeg: 80, png: 100 }

// Without a signature, only these: each other value would be one more variant.
const QUALITY_STEP = 5
const LEAST_QUALITY = 30

/** Whether a query asks for a variant, and not for the image itself. */
export const isVariant = ({ w, h, fit, format, q, dpr }: VariantQuery): boolean =>
  (w ?? h ?? fit ?? format ?? q ?? dpr) !== undefined

/**
 * Reads the parameters of a variant.
 *
 * @param sizes the widths and heights that need no signature
 * @throws {InvalidVariant}
 */
export function toWanted(
  query: VariantQuery,
  { sizes, isSigned }: { sizes: readonly number[]; isSigned: boolean },
): Wanted {
  if (!isSigned) requireListed(query, sizes)
  const scale = Number(query.dpr ?? 1)
  const side = (given: string | undefined) => (given === undefined ? undefined : Number(given) * scale)
  const [width, height] = [side(query.w), side(query.h)]
  if (Math.max(width ?? 0, height ?? 0) > MAX_SIDE)
    throw new InvalidVariant({
      detail: `A variant has at most ${MAX_SIDE} pixels on each side. Request a smaller one.`,
    })
  const hasBoth = width !== undefined && height !== undefined
  return {
    ...(width !== undefined && { width }),
    ...(height !== undefined && { height }),
    fit: hasBoth ? (query.fit ?? 'inside') : 'inside',
    format: query.format ?? 'auto',
    quality: query.q === undefined ? undefined : Number(query.q),
  }
}

function requireListed({ w, h, q }: VariantQuery, sizes: readonly number[]) {
  const sign = 'or sign the URL (docs/variants.md).'
  const list = sizes.join(', ')
  if (w === undefined && h === undefined)
    throw new InvalidVariant({ detail: `Add w or h, each one of ${list}, ${sign}` })
  for (const [name, value] of Object.entries({ w, h }))
    if (value !== undefined && !sizes.includes(Number(value)))
      throw new InvalidVariant({ detail: `${name} must be one of ${list}. Use one of these, ${sign}` })
  if (q !== undefined && (Number(q) % QUALITY_STEP > 0 || Number(q) < LEAST_QUALITY))
    throw new InvalidVariant({
      detail: `q must be a multiple of ${QUALITY_STEP} from ${LEAST_QUALITY} to 100. Use one of these, ${sign}`,
    })
}

/** The request for a format, and its name in the database. */
export function toRequest(wanted: Wanted, format: RenderFormat): { request: RenderRequest; spec: string } {
  const { width, height, fit } = wanted
  const quality = format === 'png' ? QUALITIES.png : (wanted.quality ?? QUALITIES[format])
  const spec = `${RENDER_VERSION}-${width ?? ''}x${height ?? ''}-${fit}-${format}-${quality}`
  return { request: { ...wanted, format, quality }, spec }
}
