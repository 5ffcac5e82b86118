import postgres from 'postgres'
import type { Config } from '../../config.ts'
import { type Embedded, openEmbedded } from './embedded/index.ts'
import type { Database } from './sql.ts'

const POOL = 16
// The embedded database runs one transaction at a time; more connections only wait longer.
const EMBEDDED_POOL = 4
const CONNECT_TIMEOUT_S = 5
const RECONNECT_PAUSE_S = 0.1

/** How to speak to the database: postgres.js, and how to be done with it. */
export interface Connection {
  sql: Database
  close(): Promise<void>
}

/**
 * Connects to the database of `DATABASE_URL`, or else to the embedded one in `DATA_DIR`.
 *
 * @param attach whether the embedded database may be one that another process has open
 */
export async function connect(
  config: Pick<Config, 'databaseUrl' | 'dataDir'>,
  { attach }: { attach: boolean },
): Promise<Connection> {
  const options = {
    connect_timeout: CONNECT_TIMEOUT_S,
    // The driver's own pause grows to 20 s, which is so much longer than the outage.
    backoff: () => RECONNECT_PAUSE_S,
    // A statement that waits for a lock must not hold up others, which have connections of their own.
    max_pipeline: 0,
    onnotice: () => {},
    transform: postgres.camel,
    types: { bigint: { to: 20, from: [20], parse: Number, serialize: String } },
    // Times are read, and days are named, in ISO's style, whatever the server is set to.
    connection: { application_name: 'hasty', DateStyle: 'ISO' },
  }
  let embedded: Embedded | undefined
  let sql: Database
  if (config.databaseUrl) {
    sql = postgres(config.databaseUrl, { ...options, max: POOL })
  } else {
    embedded = await openEmbedded(config.dataDir, { attach })
    const { path } = embedded
    // Connections are kept, because PGlite keeps the prepared statements of one that is closed.
    sql = postgres({
      ...options,
      path,
      user: 'postgres',
      database: 'postgres',
      max: EMBEDDED_POOL,
      max_lifetime: null,
    })
  }
  return {
    sql,
    async close() {
      await sql.end({ timeout: 5 })
      await embedded?.close()
    },
  }
}
