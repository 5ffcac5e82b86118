import type { Test } from 'tap'
import { buildApp } from '../../app.ts'
import { readConfig } from '../../config.ts'
import { createLog } from '../../process/log.ts'
import { createImageReader } from '../../services/analysis/reader.ts'
import { createRenderers, rendererLimits } from '../../services/variants/renderers.ts'
import { watchContract } from './contract.ts'
import { copyDatabase, hasLentDatabase, lendDatabase } from './embedded.ts'
import { newFolder } from './folder.ts'

export const TOKEN = 'the-token-of-the-tests'
/** What an admin's request has. */
export const admin = { 'x-access-token': TOKEN }

/** Where the service of a test keeps objects: it has no regions. */
export const objectsOf = ({ stores }: Pick<App, 'stores'>) => stores.objects.at({ region: '', tier: 'hot' })

// One for all apps of a test file. A busy machine takes seconds to start a process, so that uploads would be pending.
const PATIENCE_MS = 60_000
export const imageReader = createImageReader({ log: console, milliseconds: PATIENCE_MS })
export const renderers = createRenderers({ ...rendererLimits(1), longestWait: PATIENCE_MS })

export type App = Awaited<ReturnType<typeof build>>

/**
 * Builds the whole service with stores of its own, for `inject` or `listen`. The test fails if a response does not match
 * the contract. Without `DATA_DIR` and `DATABASE_URL`, its database is lent. With `DATA_DIR`, it uses the one in there, which
 * may be lent too.
 *
 * @param lines receives the lines of the log from `LOG_LEVEL` on, which is `silent` by default
 */
export async function build(
  t: Test,
  env: Record<string, string> = {},
  parts: Parameters<typeof buildApp>[2] = { imageReader, renderers },
  lines: object[] = [],
) {
  const DATA_DIR = env.DATA_DIR ?? newFolder(t)
  const config = readConfig({ ACCESS_TOKEN: TOKEN, LOG_LEVEL: 'silent', ...env, DATA_DIR })
  if (!config.databaseUrl && !env.DATA_DIR) await lendDatabase(t, DATA_DIR)
  const attach = hasLentDatabase(DATA_DIR)
  if (!config.databaseUrl && !attach) await copyDatabase(DATA_DIR)
  const log = createLog(config, 'test', { write: (line) => void lines.push(JSON.parse(line)) })
  const app = buildApp(config, log, attach ? { attach, ...parts } : parts)
  const faults = watchContract(app)
  t.teardown(async () => {
    await app.close()
    if (faults.length > 0) throw new Error(`not as in the contract: ${faults.join('\n')}`)
  })
  await app.ready()
  return app
}

/** Makes a link and returns its path. */
export async function makeLink(app: App, link: object = { sinceNow: 'PT1H' }): Promise<string> {
  const answer = await app.inject({
    method: 'POST',
    url: '/admin/ephemeral-links',
    headers: admin,
    body: link,
  })
  if (answer.statusCode !== 201) throw new Error(answer.body)
  return answer.json().relativePath
}
