/** An image that takes longer than this is slow. Nearly all photographs take less. */
const SLOW_MS = 2_000

/** Keeps one link from occupying all decoders of a worker with slow images. */
export interface Occupancy {
  /** Does `work`, during which an image occupies a decoder. */
  during<T>(imageId: string, work: () => Promise<T>): Promise<T>
  /**
   * The ids of the slow images, if they occupy all decoders but one; otherwise none. The last decoder takes no image of
   * the same links.
   */
  notLike(): string[]
}

/** @param decoders how many there are; a single one cannot be kept free */
export function createOccupancy(decoders: number, now = () => performance.now()): Occupancy {
  const startedAt = new Map<string, number>()
  return {
    async during(imageId, work) {
      startedAt.set(imageId, now())
      return work().finally(() => startedAt.delete(imageId))
    },

    notLike() {
      const slow = [...startedAt].filter(([, start]) => now() - start > SLOW_MS).map(([id]) => id)
      return decoders > 1 && slow.length >= decoders - 1 ? slow : []
    },
  }
}
