/** The formats of variants, and their media types. */
export const mediaTypes = {
  avif: 'image/avif',
  webp: 'image/webp',
  jpeg: 'image/jpeg',
  png: 'image/png',
} as const
export type RenderFormat = keyof typeof mediaTypes

/** The longest side of a variant in pixels. */
export const MAX_SIDE = 8192

/** The variant to make. The sandboxed process gets it, so it must be JSON. */
export interface RenderRequest {
  /** Pixels, up to `MAX_SIDE`. Without a size, the variant has the size of the picture. */
  width?: number
  height?: number
  /**
   * - `inside`: as large as possible within the size.
   * - `contain`: like inside, and padded to the exact size.
   * - `cover`: fills the size, and what is outside is cut off. A picture that is too small is only cut to its shape.
   *
   * `contain` and `cover` need both sides; otherwise they are `inside`.
   */
  fit: 'inside' | 'contain' | 'cover'
  format: RenderFormat
  /** 1 to 100. A PNG has no loss. */
  quality: number
}

/** A variant. */
export interface Rendered {
  bytes: Buffer
  /** Pixels. */
  width: number
  height: number
}
