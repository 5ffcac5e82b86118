import { databaseCalls } from '../telemetry.ts'
import { StoreUnavailable } from '../unavailable.ts'
import { retry } from './retry.ts'

/** How long a caller waits for the database, including all retries. */
const DEADLINE_MS = 10_000

/** A call of a store with its retries. `repeatable` is the mark from its definition. */
export type StoreCall<Call> = Call & { readonly repeatable: boolean }

/** A store in which the definition of every call states how it is retried: without `once` or `repeatable` it does not compile. */
export type StoreCalls<Store> = { [Name in keyof Store]: StoreCall<Store[Name]> }

/**
 * Marks the calls of a store with a deadline of their own.
 *
 * @param deadline milliseconds; a call that takes longer is `StoreUnavailable`, although it may still happen
 */
export function callsWithin(deadline: number) {
  const wrap = <Parameters extends unknown[], Result>(
    run: (...parameters: Parameters) => PromiseLike<Result>,
    repeatable: boolean,
  ): StoreCall<(...parameters: Parameters) => Promise<Result>> =>
    Object.assign(
      (...parameters: Parameters) => {
        databaseCalls.running++
        return within(
          deadline,
          retry(() => run(...parameters), { repeatable }).finally(() => databaseCalls.running--),
        )
      },
      { repeatable },
    )

  return {
    /**
     * Marks a call that must not happen twice. It is retried only if it is certain that nothing has happened.
     *
     * @param run one statement or one transaction
     */
    once: <Parameters extends unknown[], Result>(run: (...parameters: Parameters) => PromiseLike<Result>) =>
      wrap(run, false),

    /**
     * Marks a call that may happen twice, such as a read. It is also retried if its connection is lost while it runs.
     *
     * @param run one statement or one transaction
     */
    repeatable: <Parameters extends unknown[], Result>(
      run: (...parameters: Parameters) => PromiseLike<Result>,
    ) => wrap(run, true),
  }
}

/** The marks of calls that a client waits for. */
export const { once, repeatable } = callsWithin(DEADLINE_MS)

function within<Result>(milliseconds: number, result: Promise<Result>): Promise<Result> {
  if (milliseconds === Number.POSITIVE_INFINITY) return result
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => {
    reject(new StoreUnavailable('database', { cause: new Error(`no result within ${milliseconds} ms`) }))
  }, milliseconds)
  return Promise.race([result, late]).finally(() => clearTimeout(timer))
}
