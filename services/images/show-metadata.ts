import type { Metadata, ShownMetadata } from '../../schemas/images.ts'
import type { MetadataRow } from '../../stores/data/interfaces/images.ts'

/** Converts a row to the metadata in a response: without unknown values, and with the displayed size. */
export function showMetadata(row: MetadataRow): ShownMetadata {
  const metadata = Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null)) as Metadata
  const { width, height, orientation = 1 } = metadata
  if (width === undefined || height === undefined) return metadata
  const [shownWidth, shownHeight] = orientation < 5 ? [width, height] : [height, width]
  return { ...metadata, shownWidth, shownHeight }
}
