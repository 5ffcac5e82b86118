/** Collects what a case has started, and ends it in the reverse order. */
export interface Scope {
  teardown(end: () => unknown): void
}

export function createScope() {
  const ends: (() => unknown)[] = []
  const scope: Scope = { teardown: (end) => ends.push(end) }
  return {
    scope,
    async end() {
      for (const end of ends.reverse()) await end()
    },
  }
}

/** How much is measured. */
export interface Effort {
  rounds: number
  /** Of one round of a load that has no end of its own. */
  seconds: number
  /** By which the sizes of a case are multiplied. */
  scale: number
}

/** Measures once and resolves with one figure in the case's unit. */
export type Round = () => Promise<number>

export interface Prepared {
  /** What Hasty is compared with; without it the figure itself has the goal. */
  baseline?: Round
  hasty: Round
}

export interface Bound {
  atLeast?: number
  atMost?: number
}

export interface Case {
  name: string
  title: string
  unit: string
  /** What Hasty's figure divided by the baseline's should be. */
  ratio?: Bound
  /** What Hasty's figure should be. */
  figure?: Bound
  /** Fewer or more rounds than the others have. */
  rounds?: number
  /**
   * Starts what is measured. What is put into `run` ends after the last case, for what several cases share.
   *
   * @throws {Missing}
   */
  prepare(scope: Scope, effort: Effort, run: Scope): Promise<Prepared>
}

/** A case can't be run here. */
export class Missing extends Error {
  override name = 'Missing'
}

export interface Summary {
  median: number
  /** Half of the distance between the least and the most, as a part of the median. */
  spread: number
  rounds: number[]
}

export interface Result {
  name: string
  title: string
  unit: string
  baseline?: Summary
  hasty?: Summary
  /** The median of the ratios of neighbouring rounds. */
  ratio?: Summary
  goal: string
  /** Whether a smaller ratio is the better one, as of times. */
  lowerIsBetter: boolean
  met?: boolean
  /** Why it was not run. */
  skipped?: string
  /** What went wrong. */
  failure?: string
}

/**
 * Runs a case: one round of each side to warm up, then rounds of the two in turns, so that what else the machine does
 * falls on both. The ratio is taken of each pair of neighbours, and its median counts.
 */
export async function measure(benchCase: Case, effort: Effort, run: Scope): Promise<Result> {
  const { name, title, unit } = benchCase
  const result: Result = {
    name,
    title,
    unit,
    goal: describeGoal(benchCase),
    lowerIsBetter: benchCase.ratio?.atMost !== undefined,
  }
  const { scope, end } = createScope()
  try {
    const { baseline, hasty } = await benchCase.prepare(scope, effort, run)
    const figures: { baseline: number[]; hasty: number[] } = { baseline: [], hasty: [] }
    await baseline?.()
    await hasty()
    for (let round = 0; round < (benchCase.rounds ?? effort.rounds); round++) {
      if (baseline) figures.baseline.push(await baseline())
      figures.hasty.push(await hasty())
    }
    result.hasty = summarise(figures.hasty)
    if (baseline) {
      result.baseline = summarise(figures.baseline)
      result.ratio = summarise(figures.hasty.map((figure, round) => figure / figures.baseline[round]!))
    }
    result.met =
      (!benchCase.ratio || isWithin(result.ratio!.median, benchCase.ratio)) &&
      (!benchCase.figure || isWithin(result.hasty.median, benchCase.figure))
  } catch (error) {
    if (error instanceof Missing) result.skipped = error.message
    else result.failure = (error as Error).message
  } finally {
    await end()
  }
  return result
}

export function summarise(rounds: number[]): Summary {
  const sorted = rounds.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const median = sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
  return { median, spread: (sorted.at(-1)! - sorted[0]!) / 2 / median, rounds }
}

const isWithin = (value: number, { atLeast = -Infinity, atMost = Infinity }: Bound) =>
  value >= atLeast && value <= atMost

function describeGoal({ ratio, figure, unit }: Case) {
  const describe = ({ atLeast, atMost }: Bound, unit: string) =>
    [atLeast !== undefined && `≥ ${atLeast}${unit}`, atMost !== undefined && `≤ ${atMost}${unit}`].filter(
      Boolean,
    )
  return [...(ratio ? describe(ratio, ' ×') : []), ...(figure ? describe(figure, ` ${unit}`) : [])].join(', ')
}
