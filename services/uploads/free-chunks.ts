import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** The memory of unused chunks is at most this large. */
const COLLECT_BYTES = 16 * 2 ** 20

let arrived = 0
let collect: ((options: { type: 'minor' }) => void) | undefined

/**
 * Frees the memory of used chunks each time that 16 MiB have arrived in this process. Call it for each chunk.
 *
 * Node makes a new buffer for each chunk. V8 counts it, but not as garbage: it starts a full collection of the heap when
 * about 32 MB of them are there. This takes 15 ms and more, while chunks continue to arrive: an upload needed 70 to 100 MiB of
 * memory. A minor collection takes less than 1 ms, and finds all chunks.
 *
 * @param bytes the size of the chunk
 */
export function freeChunks(bytes: number) {
  arrived += bytes
  if (arrived < COLLECT_BYTES) return
  arrived = 0
  collect ??= findCollector()
  collect({ type: 'minor' })
}

/** The garbage collector, which Node offers with the option `--expose-gc`. */
function findCollector() {
  setFlagsFromString('--expose-gc')
  return runInNewContext('gc') as NonNullable<typeof collect>
}
