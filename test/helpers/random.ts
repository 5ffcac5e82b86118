export type Random = ReturnType<typeof seeded>

/** Numbers from 0 to 1 that are the same in every run: mulberry32. */
export function seeded(seed: number) {
  let state = seed
  const next = () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  return {
    next,
    /** One of several. */
    pick: <T>(items: readonly T[]) => items[Math.floor(next() * items.length)]!,
  }
}
