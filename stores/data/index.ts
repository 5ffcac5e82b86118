import type { Config } from '../../config.ts'
import { connect } from './connect.ts'
import { createFailedLookups } from './failed-lookups.ts'
import { createImages } from './images.ts'
import { type Held, withLease } from './leases.ts'
import { createLifecycle } from './lifecycle.ts'
import { createLinks } from './links.ts'
import { migrate } from './migrate.ts'
import { retrying } from './retry.ts'
import { createStats } from './stats.ts'
import { createSweeps } from './sweeps.ts'
import { createUploads } from './uploads.ts'
import { tellWhenSlow } from './warn-when-slow.ts'

export type DataStore = Awaited<ReturnType<typeof openDataStore>>

/**
 * Opens the data store: links, images, uploads and their counts, in PostgreSQL's SQL. The schema is brought up to date.
 *
 * @param attach whether the embedded database may be one that another process has open
 */
export async function openDataStore(
  config: Pick<Config, 'databaseUrl' | 'dataDir'>,
  options: { attach: boolean },
) {
  const { sql, close } = await connect(config, options)
  try {
    const migrated = await tellWhenSlow('Bringing the schema up to date', migrate(sql))
    return {
      sql,
      /** The names of the migrations that opening the store applied. */
      migrated,
      links: retrying(createLinks(sql), { repeatable: ['find', 'findWithCounts', 'page', 'revoke'] }),
      images: retrying(createImages(sql), {
        // What goes by a lease's token is not done again once it is done.
        repeatable: ['find', 'page', 'dueIn', 'unclaimed', 'extend', 'giveBack', 'settle', 'waiting'],
      }),
      uploads: retrying(createUploads(sql), { repeatable: ['pageOfLink'] }),
      stats: retrying(createStats(sql), { repeatable: ['top', 'days'] }),
      // The sweep may take long: nobody waits for it.
      lifecycle: retrying(createLifecycle(sql), { deadline: Number.POSITIVE_INFINITY }),
      sweeps: retrying(createSweeps(sql), { repeatable: ['last'] }),
      failedLookups: retrying(createFailedLookups(sql)),
      /** As `withLease` does. */
      withLease: <T>(name: string, work: (held: Held) => Promise<T>) => withLease(sql, name, work),
      /** Resolves when the database answers. */
      async ping() {
        await sql`select 1`
      },
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}
