import { createHash } from 'node:crypto'
import { type DestinationStream, type Logger, pino, stdSerializers } from 'pino'
import type { Config } from '../config.ts'

// Anybody who has the id of a link or an image can use it. The log has the first 8 digits of its SHA-256 instead.
const ID = /\b[0-9A-Za-z]{48}\b/g
const fingerprint = (id: string) => `id-${createHash('sha256').update(id).digest('hex').slice(0, 8)}`

// Characters that could colour a terminal, or forge or reorder a line there: controls other than tab and line feed, escaped
// by JSON or not, and the separators and the direction marks of Unicode. In JSON, `\\u001b` is a backslash and not an escape.
const CONTROLS = /(?<!\\)((?:\\\\)*)(?:\\u00[01][0-9a-f]|\\[bfr])|[\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g
const withoutControls = (line: string) => line.replace(CONTROLS, (_, slashes = '') => `${slashes}\ufffd`)

/** Serializes an error. Its message may contain bytes of a file, so a line feed in it must not begin a new line. */
function serializeError(error: Error) {
  const { message, stack, ...rest } = stdSerializers.err(error)
  return {
    ...rest,
    message: message?.replaceAll('\n', ' '),
    stack: stack?.replace(/\n(?!\s+at |caused by: )/g, ' '),
  }
}

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
    serializers: { err: serializeError },
    name,
    level: logLevel,
    // At level trace @fastify/multipart logs its options, which contain the request's header fields.
    redact: { paths: ['busboyOptions.headers'], remove: true },
    hooks: { streamWrite: (line: string) => withoutControls(line.replace(ID, fingerprint)) },
  }
  return stream ? pino(options, stream) : pino(options)
}
