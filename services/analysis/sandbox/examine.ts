import { compareLength } from '../../../formats/declared-length.ts'
import type { Decoded } from '../../../formats/decode/decode.ts'
import type { WholeFile } from '../../../formats/decode/libvips.ts'
import { Undecodable } from '../../../formats/decode/undecodable.ts'
import { NotAnImage, readMetadata } from '../../../formats/metadata.ts'
import { isCovered } from '../../../formats/structure.ts'
import type { Metadata } from '../../../schemas/images.ts'
import type { Verdict } from '../../../stores/data/interfaces/image-leases.ts'
import { FILE_DESCRIPTOR, type Job } from './messages.ts'

/**
 * Reads an image's metadata, and decodes the image if the task is `examine`. An image that no decoder here supports is
 * `ready` if its header accounts for its bytes, otherwise `failed`.
 *
 * @param bytes the file; undefined if it is descriptor `FILE_DESCRIPTOR`
 * @param onHeader gets the metadata before the decoding
 */
export async function examine(
  { task, ...format }: Omit<Job, 'size'>,
  bytes?: Buffer,
  onHeader: (metadata: Metadata) => void = () => {},
): Promise<Verdict> {
  const source = bytes ?? { path: `/proc/self/fd/${FILE_DESCRIPTOR}` }
  try {
    const metadata = await readMetadata(source, format)
    if (task === 'read') return { status: 'ready', metadata }
    onHeader(metadata)
    return await decodeFully(source, metadata)
  } catch (error) {
    if (!(error instanceof NotAnImage)) throw error
    return { status: 'rejected', failure: error.message }
  }
}

async function decodeFully(
  source: WholeFile,
  metadata: Awaited<ReturnType<typeof readMetadata>>,
): Promise<Verdict> {
  // Loaded only if an image is decoded: libheif takes 20 MB.
  const { decode } = await import('../../../formats/decode/decode.ts')
  try {
    if ((await compareLength(source, metadata)) === 'differs')
      return { status: 'rejected', failure: 'its length is not the one that its header declares' }
    const decoded = await decode(source, metadata)
    if (!decoded && !(await isCovered(source, metadata)))
      return {
        status: 'failed',
        failure: 'no decoder supports this kind of image, so nothing verifies it',
        metadata,
      }
    return { status: 'ready', metadata: { ...metadata, ...toFields(decoded) } }
  } catch (error) {
    if (!(error instanceof Undecodable)) throw error
    return { status: error.status, failure: error.message, metadata }
  }
}

function toFields(decoded: Decoded | undefined): Partial<Metadata> {
  if (!decoded) return {}
  const { placeholder, damage } = decoded
  if (!damage) return { placeholder }
  const { reason, presentShare } = damage
  return { placeholder, damaged: true, damage: reason, ...(presentShare !== undefined && { presentShare }) }
}
