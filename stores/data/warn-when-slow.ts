const SLOW_MS = 20_000

/**
 * Resolves as `step` does. If it takes longer than 20 s, a warning on standard error names it, so that a start that
 * hangs says where.
 */
export async function warnWhenSlow<T>(name: string, step: Promise<T>): Promise<T> {
  const timer = setTimeout(
    () => process.emitWarning(`${name} takes longer than ${SLOW_MS / 1000} s; still waiting.`),
    SLOW_MS,
  )
  return step.finally(() => clearTimeout(timer))
}
