import type { Config } from '../../config.ts'
import { createAudit } from './audit.ts'
import { connect } from './connect.ts'
import type { DataStore } from './data-store.ts'
import { createDump } from './dump.ts'
import { createFailedLookups } from './failed-lookups.ts'
import { createImageLeases } from './image-leases.ts'
import { createImages } from './images.ts'
import { createInstallation } from './installation.ts'
import { createJobState } from './job-state.ts'
import { createLifecycle } from './lifecycle.ts'
import { createLinks } from './links.ts'
import { migrate, pendingMigrations } from './migrate.ts'
import { withLease } from './process-leases.ts'
import { createResumableUploads } from './resumable-uploads.ts'
import { toUnavailable } from './retry.ts'
import { createSecrets } from './secrets.ts'
import { createSessions } from './sessions.ts'
import type { Database } from './sql.ts'
import { createStats } from './stats.ts'
import { createSweeps } from './sweeps.ts'
import { createTokens } from './tokens.ts'
import { createUploads } from './uploads.ts'
import { createVariants } from './variants.ts'
import { warnWhenSlow } from './warn-when-slow.ts'

/**
 * Opens the data store and brings its schema up to date.
 *
 * @param attach whether the embedded database may be one that another process has open
 */
export async function openDataStore(
  config: Pick<Config, 'databaseUrl' | 'dataDir'>,
  options: { attach: boolean },
): Promise<DataStore> {
  const { sql, close } = await connect(config, options)
  try {
    const migrated = await warnWhenSlow('Bringing the schema up to date', migrate(sql))
    return {
      links: createLinks(sql),
      images: createImages(sql),
      imageLeases: createImageLeases(sql),
      uploads: createUploads(sql),
      resumable: createResumableUploads(sql),
      stats: createStats(sql),
      lifecycle: createLifecycle(sql),
      sweeps: createSweeps(sql),
      tokens: createTokens(sql),
      audit: createAudit(sql),
      jobState: createJobState(sql),
      dump: createDump(sql),
      sessions: createSessions(sql),
      failedLookups: createFailedLookups(sql),
      installation: createInstallation(sql),
      secrets: createSecrets(sql),
      variants: createVariants(sql),
      withLease: (name, work) => withLease(sql, name, work),
      ping: () => ping(sql),
      close,
      migrated,
      sql,
    }
  } catch (error) {
    await close()
    throw error
  }
}

/** The versions of the schema that the database does not have yet. Changes nothing. @throws {NewerSchema} */
export async function readPendingMigrations(
  config: Pick<Config, 'databaseUrl' | 'dataDir'>,
  options: { attach: boolean },
): Promise<number[]> {
  const { sql, close } = await connect(config, options)
  try {
    return await pendingMigrations(sql)
  } finally {
    await close()
  }
}

async function ping(sql: Database): Promise<void> {
  try {
    const [row] = await sql<
      { readOnly: string }[]
    >`select current_setting('transaction_read_only') as read_only`
    if (row!.readOnly === 'on')
      throw Object.assign(new Error('transaction_read_only is on'), { code: '25006' })
  } catch (error) {
    throw toUnavailable(error)
  }
}
