import type { ServedRow } from '../../stores/data/interfaces/images.ts'
import type { Stores } from '../../stores/index.ts'

/** Deletes the variants of images: the rows, then the objects. */
export async function removeVariants(
  { data, objects }: Stores,
  images: readonly Pick<ServedRow, 'id' | 'region'>[],
): Promise<void> {
  const removed = await data.variants.removeOf(images.map(({ id }) => id))
  const regions = new Map(images.map(({ id, region }) => [id, region]))
  for (const { objectKey, imageId } of removed)
    if (objectKey) await objects.find({ region: regions.get(imageId)!, tier: 'hot' })?.delete(objectKey)
}
