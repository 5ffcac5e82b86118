import { CannotStrip, type Plan } from '../../formats/strip/plan.ts'
import type { CacheCount } from '../cache.ts'
import { Busy } from '../errors.ts'

// Making a plan reads the whole file and uses the CPU of this process.
const CONCURRENT = 2
const MOST_WAITING = 64

// Rough memory of an entry, and of a piece that is a range, in bytes.
const ENTRY_BYTES = 300
const PIECE_BYTES = 80

type Outcome = Plan | CannotStrip

/** How images are served without their metadata: their plans, by their ids. */
export interface Plans {
  /**
   * Returns the plan of an image. `make` is called if it is not known. Equal requests at the same time share one call.
   *
   * @throws {CannotStrip} from `make`; it is remembered like a plan
   * @throws {Busy} too many requests wait for the plans of other images
   */
  get(id: string, make: () => Promise<Plan>): Plan | Promise<Plan>
  delete(id: string): void
  readonly count: CacheCount
}

/** Creates a cache of plans. @param capacity approximate bytes of memory; the least recently used plans are dropped */
export function createPlans({ capacity }: { capacity: number }): Plans {
  const known = createWeighted(capacity)
  const making = new Map<string, Promise<Plan>>()
  const queue = createQueue()
  const count = { hits: 0, misses: 0 }

  async function makeOnce(id: string, make: () => Promise<Plan>) {
    const run = queue.run(make)
    making.set(id, run)
    const remember = (outcome: Outcome) => {
      // If the image was removed meanwhile, its plan is not stored.
      if (making.get(id) === run) known.set(id, outcome)
    }
    try {
      const plan = await run
      remember(plan)
      return plan
    } catch (error) {
      if (error instanceof CannotStrip) remember(error)
      throw error
    } finally {
      if (making.get(id) === run) making.delete(id)
    }
  }

  return {
    count,
    get(id, make) {
      const outcome = known.get(id)
      count[outcome ? 'hits' : 'misses']++
      if (outcome instanceof CannotStrip) throw outcome
      return outcome ?? making.get(id) ?? makeOnce(id, make)
    },
    delete(id) {
      known.delete(id)
      making.delete(id)
    },
  }
}

/** A map whose values have a weight. It drops the least recently used ones when their sum is above `capacity`. */
function createWeighted(capacity: number) {
  const outcomes = new Map<string, Outcome>() // least recently used first
  let total = 0

  function remove(id: string) {
    const outcome = outcomes.get(id)
    if (!outcome) return
    total -= weightOf(outcome)
    outcomes.delete(id)
  }

  return {
    get(id: string) {
      const outcome = outcomes.get(id)
      if (!outcome) return undefined
      outcomes.delete(id)
      outcomes.set(id, outcome)
      return outcome
    },
    set(id: string, outcome: Outcome) {
      remove(id)
      outcomes.set(id, outcome)
      total += weightOf(outcome)
      for (const oldest of outcomes.keys()) {
        if (total <= capacity) break
        remove(oldest)
      }
    },
    delete: remove,
  }
}

const weightOf = (outcome: Outcome) =>
  outcome instanceof CannotStrip
    ? ENTRY_BYTES
    : outcome.pieces.reduce(
        (sum, piece) => sum + PIECE_BYTES + (Buffer.isBuffer(piece) ? piece.length : 0),
        ENTRY_BYTES,
      )

/** Runs `CONCURRENT` tasks at a time, in the order in which they came. */
function createQueue() {
  const waiting: (() => void)[] = []
  let running = 0

  return {
    async run<T>(task: () => Promise<T>): Promise<T> {
      if (running >= CONCURRENT) {
        if (waiting.length >= MOST_WAITING) throw new Busy()
        await new Promise<void>((resolve) => waiting.push(resolve))
      } else running++
      try {
        return await task()
      } finally {
        // The next task replaces this one.
        const next = waiting.shift()
        if (next) next()
        else running--
      }
    },
  }
}
