import type { Avoided } from '../../stores/queue/queue.ts'

/** An image that takes longer than this is slow. Nearly all photographs take less. */
const SLOW_MS = 2_000

/** Keeps one link from occupying the decoders of a worker with slow images. */
export interface Occupancy {
  /** Does `work`, during which an image occupies a decoder. */
  during<T>(imageId: string, work: () => Promise<T>): Promise<T>
  /**
   * The slow images whose links must wait. Other links come first while a slow image is decoded, and then for as long as
   * its decoding took. So slow images of one link take at most half of the time that others need. If slow images occupy
   * all decoders but one, the last decoder takes no image of their links.
   */
  avoided(): Avoided
}

/** @param decoders how many there are; a single one cannot be kept free */
export function createOccupancy(decoders: number, now = () => performance.now()): Occupancy {
  const startedAt = new Map<string, number>()
  const avoidedUntil = new Map<string, number>()

  function end(imageId: string) {
    const duration = now() - startedAt.get(imageId)!
    startedAt.delete(imageId)
    if (duration > SLOW_MS) avoidedUntil.set(imageId, now() + duration)
  }

  return {
    async during(imageId, work) {
      startedAt.set(imageId, now())
      return work().finally(() => end(imageId))
    },

    avoided() {
      const slow = [...startedAt].filter(([, start]) => now() - start > SLOW_MS).map(([id]) => id)
      if (decoders > 1 && slow.length >= decoders - 1) return { images: slow, strictly: true }
      for (const [id, until] of avoidedUntil) if (until <= now()) avoidedUntil.delete(id)
      return { images: [...new Set([...slow, ...avoidedUntil.keys()])], strictly: false }
    },
  }
}
