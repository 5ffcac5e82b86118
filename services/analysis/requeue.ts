import type { AnalyseFilter } from '../../schemas/images.ts'
import type { Stores } from '../../stores/index.ts'
import { ImageGone, ImageNotFound } from '../errors.ts'
import { isId } from '../ids.ts'

/** How many images one call queues at most. */
const LIMIT = 10_000

/** Queues settled images for a new analysis. They keep their status, and are served as before, until the new verdict. */
export function createRequeue({ data, queue }: Pick<Stores, 'data' | 'queue'>) {
  async function requeue(request: Parameters<typeof data.imageLeases.requeue>[0]) {
    const ids = await data.imageLeases.requeue(request)
    for (const id of ids) queue.announce(id)
    return ids.length
  }

  return {
    /** Queues one image. Nothing happens if it waits already. @throws {ImageNotFound | ImageGone} */
    async one(id: string): Promise<{ queued: number }> {
      const image = isId(id) ? await data.images.find(id) : undefined
      if (!image) throw new ImageNotFound()
      if (image.removedAt) throw new ImageGone()
      return { queued: await requeue({ ids: [id], limit: 1 }) }
    },

    /** Queues the oldest images with this status. */
    async all({ status }: AnalyseFilter): Promise<{ queued: number }> {
      return { queued: await requeue({ status, limit: LIMIT }) }
    },
  }
}
