import { Undecodable } from '../../../formats/decode/undecodable.ts'
import { NotAnImage, readMetadata } from '../../../formats/metadata.ts'
import { type Answer, FILE_DESCRIPTOR, type Job } from './messages.ts'

/**
 * Makes a variant of an image.
 *
 * @param bytes the file; undefined if it is descriptor `FILE_DESCRIPTOR`
 */
export async function makeVariant(
  { render: request, ...format }: Omit<Job, 'size'>,
  bytes?: Buffer,
): Promise<Answer & { content?: Buffer }> {
  const source = bytes ?? { path: `/proc/self/fd/${FILE_DESCRIPTOR}` }
  // Loaded only for variants: the decoders take memory.
  const { render, Unrenderable } = await import('../../../formats/render/render.ts')
  try {
    const metadata = await readMetadata(source, format)
    const { bytes: content, width, height } = await render(source, metadata, request!)
    return { rendered: { size: content.length, width, height }, content }
  } catch (error) {
    const { message } = error as Error
    if (error instanceof Unrenderable || (error instanceof Undecodable && error.kind === 'unsupported'))
      return { unrendered: { kind: 'unrenderable', reason: message } }
    if (error instanceof Undecodable || error instanceof NotAnImage)
      return { unrendered: { kind: 'undecodable', reason: message } }
    throw error
  }
}
