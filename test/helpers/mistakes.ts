import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { hasLentDatabase } from './embedded.ts'
import { ATTACH, entryEnv } from './server.ts'

/**
 * Starts an entry with a wrong setting, and resolves when it has ended by itself. It uses the database that was lent to its
 * `DATA_DIR`, if any.
 *
 * @returns its exit code and all that it wrote
 */
export async function startWrong(
  t: Pick<Test, 'teardown'>,
  env: Record<string, string>,
  [entry = 'server.ts', ...args]: string[] = [],
) {
  const path = fileURLToPath(new URL(`../../${entry}`, import.meta.url))
  const isLent = env.DATA_DIR !== undefined && hasLentDatabase(env.DATA_DIR)
  const child = spawn(process.execPath, [...(isLent ? [ATTACH] : []), path, ...args], {
    env: { ...entryEnv(), WORKER_PROCESSES: '0', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (output += data))
  const [code] = await once(child, 'close')
  return { code: code as number | null, output }
}
