const SLOW_MS = 20_000

/**
 * Gives what `step` gives. Where it takes longer than 20 s, a warning on standard error names it, so that a start that
 * stands still says where.
 */
export async function tellWhenSlow<T>(name: string, step: Promise<T>): Promise<T> {
  const timer = setTimeout(
    () => process.emitWarning(`${name} takes longer than ${SLOW_MS / 1000} s; it is still waited for.`),
    SLOW_MS,
  )
  return step.finally(() => clearTimeout(timer))
}
