import type { Metadata } from '../../schemas/images.ts'
import type { Bytes, Source } from './bytes.ts'
import type { ExifDirectories } from './tags.ts'

/** What a format's own header tells, and where in the file the tags are. */
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
   * Set by formats that say themselves how to turn a picture, whatever Exif says of it; undefined then means that it is
   * shown as it is stored.
   */
  orientation?: Metadata['orientation'] | undefined
}

/** Reads a format's header; undefined where the file has none that can be read. */
export type HeaderReader = (file: {
  bytes: Bytes
  source: Source
  /** What the file is by its first bytes. */
  mediaType: string
}) => Promise<Header | undefined>

// What a profile, a packet or a block may hold at most; real ones stay far below.
export const MOST_BLOCK_BYTES = 2 ** 22
