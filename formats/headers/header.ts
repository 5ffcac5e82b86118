import type { Metadata } from '../../schemas/images.ts'
import type { Bytes, Source } from './bytes.ts'
import type { ExifDirectories } from './exif.ts'

/** The contents of a format's own header, and the blocks with tags. */
export interface Header extends Picture {
  exif?: ExifDirectories | undefined
  xmp?: Buffer | undefined
  /** The colour profile. */
  icc?: Buffer | undefined
}

type Field =
  | 'mediaType'
  | 'width'
  | 'height'
  | 'frames'
  | 'duration'
  | 'bitDepth'
  | 'colourSpace'
  | 'hasAlpha'
type Picture = { [Name in Field]?: Metadata[Name] | undefined } & {
  /**
   * Set by the formats that have an orientation of their own, so Exif does not count. Undefined then means that the
   * picture is shown as stored.
   */
  orientation?: Metadata['orientation'] | undefined
}

/** Reads a format's header; undefined if the file has none that can be read. */
export type HeaderReader = (file: {
  bytes: Bytes
  source: Source
  /** The media type by the first bytes. */
  mediaType: string
}) => Promise<Header | undefined>

/** The maximum size of a profile, a packet or a block. Real ones are much smaller. */
export const MAX_BLOCK_BYTES = 2 ** 22
