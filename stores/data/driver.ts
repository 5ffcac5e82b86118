import { readFileSync } from 'node:fs'

/** A line that only the patched driver has: see patches/README.md. */
const MARK = 'chunk = nextWriteTimer = null'

/**
 * Refuses a driver without the patch. Without it, a lost connection can make a statement run in another transaction.
 *
 * @throws if patches/ was not applied, as after `npm ci --ignore-scripts`
 */
export function assertPatched(file = new URL('connection.js', import.meta.resolve('postgres'))) {
  if (!readFileSync(file, 'utf8').includes(MARK))
    throw new Error(
      'The package postgres is not patched, so a lost connection could damage data. Run `npx patch-package`, or install ' +
        'with `npm ci` without --ignore-scripts.',
    )
}
