import type { Metadata, ShownMetadata } from '../../schemas/images.ts'
import type { MetadataRow } from '../../stores/data/data-store.ts'

/** What is known of an image as a client sees it: without what is not, and with its size as shown. */
export function showMetadata(row: MetadataRow): ShownMetadata {
  const metadata = Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null)) as Metadata
  const { width, height, orientation = 1 } = metadata
  if (width === undefined || height === undefined) return metadata
  const [shownWidth, shownHeight] = orientation < 5 ? [width, height] : [height, width]
  return { ...metadata, shownWidth, shownHeight }
}
