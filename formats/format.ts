import { formatNames } from '../schemas/formats.ts'

/** The format of an image file. */
export interface Format {
  /** The format's name, as statistics show it. */
  format: string
  mediaType: string
}

/** The format with a media type; undefined if it is not the media type of a known image format. */
export function formatOf(mediaType: string): Format | undefined {
  const format = Object.hasOwn(formatNames, mediaType) ? formatNames[mediaType] : undefined
  return format === undefined ? undefined : { format, mediaType }
}
