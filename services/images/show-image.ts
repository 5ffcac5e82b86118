import type { Image, ImageWithUploads } from '../../schemas/images.ts'
import type { ImageRow } from '../../stores/data/interfaces/images.ts'
import type { ImageUploadRow } from '../../stores/data/interfaces/uploads.ts'
import { showMetadata } from './show-metadata.ts'

/** Converts a row to an image in a response for the admin. */
export const showImage = ({
  id,
  hash,
  size,
  status,
  region,
  tier,
  receivedAt,
  lastAccessedAt,
  removedAt,
  failure,
  objectFault,
  private: isPrivate,
  stripMetadata,
  ...metadata
}: ImageRow): Image => ({
  id,
  ...(hash && { hash }),
  size,
  status,
  ...(region && { region }),
  tier,
  receivedAt: receivedAt.toISOString(),
  lastAccessedAt: lastAccessedAt.toISOString(),
  ...(removedAt && { removedAt: removedAt.toISOString() }),
  ...(failure !== null && { failure }),
  ...(objectFault !== null && { objectFault }),
  ...(isPrivate && { private: true }),
  ...(stripMetadata && { stripMetadata: true }),
  ...showMetadata(metadata),
})

/** Converts an upload of an image. */
export const showImageUpload = ({
  name,
  sender,
  message,
  linkId,
  label,
  duplicate,
  receivedAt,
}: ImageUploadRow): ImageWithUploads['uploads'][number] => ({
  ...(name && { name }),
  link: { id: linkId, ...(label !== null && { label }) },
  duplicate,
  receivedAt: receivedAt.toISOString(),
  ...(sender && { sender }),
  ...(message && { message }),
})
