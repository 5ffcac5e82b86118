import { deflateSync } from 'node:zlib'

/** The CPU time of this process so far, in milliseconds. Other processes of a busy machine do not add to it. */
export function cpuMilliseconds() {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

/** The CPU milliseconds of the work in `slowness`, on the machine on which the limits of time in tests were measured. */
const REFERENCE_MS = 40
const bytes = Buffer.from(Array.from({ length: 2 ** 20 }, (_, n) => ((n * n) >>> 7) ^ (n % 251)))

/**
 * Whether CPU time is within a limit that was set on a machine of the reference speed. On a slower machine the limit is
 * longer by as much as a fixed piece of work takes longer. Other programs make a core slower too, because they use its caches.
 */
export function isWithin(milliseconds: number, limit: number): boolean {
  return milliseconds <= limit || milliseconds <= limit * slowness()
}

/** How many times slower than the reference this machine is now, at least 1. */
function slowness() {
  let best = Number.POSITIVE_INFINITY
  for (let attempt = 0; attempt < 5; attempt++) {
    const before = process.threadCpuUsage()
    deflateSync(bytes)
    Array.from({ length: 50_000 }, (_, n) => (n * 7919) % 100_003).sort((a, b) => a - b)
    const { user, system } = process.threadCpuUsage(before)
    best = Math.min(best, (user + system) / 1_000)
  }
  return Math.max(1, best / REFERENCE_MS)
}
