/** Collects the clean-up functions of a case. They run in reverse order. */
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

/** The amount of measurement. */
export interface Effort {
  rounds: number
  /** The duration of a round, for loads without a fixed size. */
  seconds: number
  /** The factor for the sizes of a case. */
  scale: number
}

/** Measures once. Resolves with a value in the unit of the case. */
export type Round = () => Promise<number>

export interface Prepared {
  /** The comparison. Without it, the goal is an absolute value. */
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
  /** The goal for Hasty's value divided by the baseline's. */
  ratio?: Bound
  /** The goal for Hasty's value. */
  figure?: Bound
  /** The number of rounds, if it differs from the default. */
  rounds?: number
  /**
   * Starts the processes of the case. Processes that several cases share are added to `run` and end after the last case.
   *
   * @throws {Missing}
   */
  prepare(scope: Scope, effort: Effort, run: Scope): Promise<Prepared>
}

/** The case can't run on this machine, because a program is missing. */
export class Missing extends Error {
  override name = 'Missing'
}

export interface Summary {
  median: number
  /** Half of the range of the values, divided by the median. */
  spread: number
  rounds: number[]
}

export interface Result {
  name: string
  title: string
  unit: string
  baseline?: Summary
  hasty?: Summary
  /** The ratios of neighbouring rounds. */
  ratio?: Summary
  goal: string
  /** Whether a smaller ratio is better, for example for times. */
  lowerIsBetter: boolean
  met?: boolean
  /** The reason why the case was not run. */
  skipped?: string
  /** The error. */
  failure?: string
}

/**
 * Runs a case: one round of each side to warm up, then alternating rounds, so that other work of the machine affects both
 * sides. Each pair of neighbouring rounds gives a ratio. The result is the median ratio.
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

function summarise(rounds: number[]): Summary {
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
