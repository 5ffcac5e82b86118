import { createHash } from 'node:crypto'
import { type Logger, pino } from 'pino'
import type { Config } from '../config.ts'

// An id of a link or an image lets whoever has it upload or see: a log shows a mark that tells ids apart, and no more.
const ID = /\b[0-9A-Za-z]{48}\b/g
const mark = (id: string) => `id-${createHash('sha256').update(id).digest('hex').slice(0, 8)}`

/** Makes the log of a process: lines of JSON on standard output. */
export function createLog({ logLevel }: Pick<Config, 'logLevel'>, name: string): Logger {
  return pino({
    name,
    level: logLevel,
    // At the level trace @fastify/multipart tells all its options, the header fields of the request among them.
    redact: { paths: ['busboyOptions.headers'], remove: true },
    hooks: { streamWrite: (line) => line.replace(ID, mark) },
  })
}
