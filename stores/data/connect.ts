import postgres from 'postgres'
import type { Config } from '../../config.ts'
import { databaseCalls } from '../telemetry.ts'
import { readDatabaseUrl } from './database-url.ts'
import { assertPatched } from './driver.ts'
import { type Embedded, openEmbedded } from './embedded/index.ts'
import { losesPreparedStatements } from './pooler.ts'
import { retry } from './retry.ts'
import type { Database } from './sql.ts'

const POOL = 16
// The embedded database runs one transaction at a time, so more connections are of no use.
const EMBEDDED_POOL = 4
const CONNECT_TIMEOUT_S = 5
const RECONNECT_PAUSE_S = 0.1

type Options = postgres.Options<{ bigint: postgres.PostgresType<number> }>

/** A connection pool. */
export interface Connection {
  sql: Database
  close(): Promise<void>
}

/** Opens the pool for a DATABASE_URL. If a pooler loses prepared statements, it uses none. */
async function connectToServer(databaseUrl: string, options: Options): Promise<Database> {
  const { url, options: fromUrl } = readDatabaseUrl(databaseUrl)
  const open = (more: Options) => postgres(url, { ...options, ...fromUrl, ...more }) as Database
  const sql = open({ max: POOL })
  try {
    if (!(await retry(() => losesPreparedStatements(sql, open)))) return sql
  } catch (error) {
    await sql.end({ timeout: 0 })
    throw error
  }
  await sql.end({ timeout: 5 })
  process.emitWarning(
    'DATABASE_URL leads to a pooler that loses prepared statements (PgBouncer before 1.21 in transaction mode does). ' +
      'Hasty does not prepare statements, which costs the database more time. Use PgBouncer 1.21 or later with ' +
      'max_prepared_statements, or session mode.',
  )
  return open({ max: POOL, prepare: false })
}

/**
 * Connects to the database of `DATABASE_URL`, or to the embedded one in `DATA_DIR`.
 *
 * @param attach whether to use an embedded database that another process has opened
 */
export async function connect(
  config: Pick<Config, 'databaseUrl' | 'dataDir'>,
  { attach }: { attach: boolean },
): Promise<Connection> {
  assertPatched()
  const options = {
    connect_timeout: CONNECT_TIMEOUT_S,
    // The driver's own pause grows to 20 s, so it would delay the end of an outage by up to 20 s.
    backoff: () => RECONNECT_PAUSE_S,
    // One statement per connection, so that a statement that waits for a lock does not delay others.
    max_pipeline: 0,
    onnotice: () => {},
    transform: postgres.camel,
    types: { bigint: { to: 20, from: [20], parse: Number, serialize: String } },
    // The driver reads ISO times, and the names of days are ISO dates, so the server's setting must not matter.
    connection: { application_name: 'hasty', DateStyle: 'ISO' },
  }
  let embedded: Embedded | undefined
  let sql: Database
  if (config.databaseUrl) {
    sql = await connectToServer(config.databaseUrl, options)
  } else {
    embedded = await openEmbedded(config.dataDir, { attach })
    const { path } = embedded
    // Connections have no maximum lifetime, because PGlite keeps the prepared statements of closed ones.
    sql = postgres({
      ...options,
      path,
      user: 'postgres',
      database: 'postgres',
      max: EMBEDDED_POOL,
      max_lifetime: null,
    })
  }
  databaseCalls.connections = sql.options.max
  return {
    sql,
    async close() {
      await sql.end({ timeout: 5 })
      await embedded?.close()
    },
  }
}
