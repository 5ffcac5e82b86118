const SLOW_MS = 20_000

/**
 * Has the result of `step`. If it takes longer than 20 s, a warning on standard error names it. So the cause of a start
 * that does not end is visible.
 */
export async function warnWhenSlow<T>(name: string, step: Promise<T>): Promise<T> {
  const timer = setTimeout(
    () => process.emitWarning(`${name} takes longer than ${SLOW_MS / 1000} s; still waiting.`),
    SLOW_MS,
  )
  return step.finally(() => clearTimeout(timer))
}
