import { createHash } from 'node:crypto'
import { type DestinationStream, type Logger, pino } from 'pino'
import type { Config } from '../config.ts'

// Anybody who has the id of a link or an image can use it. The log has the first 8 digits of its SHA-256 instead.
const ID = /\b[0-9A-Za-z]{48}\b/g
const fingerprint = (id: string) => `id-${createHash('sha256').update(id).digest('hex').slice(0, 8)}`

/**
 * Creates the log of a process: one JSON object per line.
 *
 * @param stream where the lines go; standard output by default
 */
export function createLog(
  { logLevel }: Pick<Config, 'logLevel'>,
  name: string,
  stream?: DestinationStream,
): Logger {
  const options = {
    name,
    level: logLevel,
    // At level trace @fastify/multipart logs its options, which contain the request's header fields.
    redact: { paths: ['busboyOptions.headers'], remove: true },
    hooks: { streamWrite: (line: string) => line.replace(ID, fingerprint) },
  }
  return stream ? pino(options, stream) : pino(options)
}
