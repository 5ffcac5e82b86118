import type { IncomingMessage } from 'node:http'
import multipart from '@fastify/multipart'
import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { parseDigests } from '../services/uploads/digests.ts'
import type { Part, PartFile } from '../services/uploads/index.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Reads multipart/form-data (RFC 7578) part by part. Where the parts are not read to the end, the rest is dropped. */
    readParts(): AsyncGenerator<Part, void, void>
  }
}

// Parts over MAX_FILES are named in the answer, up to so many; a request with more is not read to its end.
const EXTRA_PARTS = 100

export default fp(
  async (app) => {
    const { maxFileSize, maxFiles } = app.config
    await app.register(multipart, {
      limits: { fileSize: maxFileSize, parts: maxFiles + EXTRA_PARTS, headerPairs: 50 },
      throwFileSizeLimit: false,
    })
    app.decorateRequest('readParts', function () {
      return readParts(this, { maxFiles, errors: app.multipartErrors })
    })
  },
  { name: 'multipart', dependencies: ['config'] },
)

type MultipartErrors = FastifyRequest['server']['multipartErrors']

/** A part that has begun to pass. */
interface SeenPart {
  headers: Record<string, string[] | undefined>
  name: string
  /** Whether the parser hands it on; it is silent about one that it can't use. */
  handedOn: boolean
  /** Whether it has passed to its end, which may not have been read yet. */
  whole: boolean
}

async function* readParts(
  request: FastifyRequest,
  { maxFiles, errors }: { maxFiles: number; errors: MultipartErrors },
): AsyncGenerator<Part, void, void> {
  const seen: SeenPart[] = []
  watchParts(request.raw, seen)
  const parts = request.parts({
    // Every part is read as a file: its bytes tell what it is, not its headers.
    isPartAFile(fieldName, _contentType, fileName) {
      const part = seen.at(-1)
      if (part) {
        part.name = fileName || fieldName || ''
        part.handedOn = !(String(fieldName) in Object.prototype)
      }
      return true
    },
  })
  let files = 0
  let last: PartFile | undefined
  try {
    for await (const part of parts) {
      const { file, fieldname } = part as { file: PartFile; fieldname: string | undefined }
      let next = seen.shift()
      for (; next && !next.handedOn; next = seen.shift()) yield { name: next.name, fault: 'malformed' }
      const { name, headers } = next!
      const digests = parseDigests([headers['content-digest'] ?? [], headers['repr-digest'] ?? []].flat())
      last = file
      files++
      if (files <= maxFiles && fieldname !== undefined && digests) {
        yield { name, file, digests }
      } else {
        file.resume()
        yield { name, fault: files > maxFiles ? 'too_many_files' : 'malformed' }
      }
    }
    for (const { name } of seen) yield { name, fault: 'malformed' }
  } catch (error) {
    const fault = faultOf(error, errors)
    // Which part was cut off; where it had been handed on, it has told so itself.
    const cut =
      fault === 'incomplete' && !last?.errored && seen.at(-1)?.whole === false ? seen.pop() : undefined
    if (fault !== 'too_many_files') for (const { name } of seen) yield { name, fault: 'malformed' }
    if (fault && !last?.errored) yield { name: cut?.name ?? '', fault }
  } finally {
    // Who stops in the middle still lets the client finish sending; else it would not read the answer.
    request.raw.unpipe()
    request.raw.resume()
  }
}

/** What an error of the parser means for the request; undefined where it is of parts that are reported by themselves. */
function faultOf(
  error: unknown,
  { PartsLimitError, PrematureCloseError, PrototypeViolationError }: MultipartErrors,
) {
  if (error instanceof PrototypeViolationError) return undefined
  if (error instanceof PartsLimitError) return 'too_many_files'
  const { message } = error as Error
  if (error instanceof PrematureCloseError || /Unexpected end|terminated early/.test(message))
    return 'incomplete'
  return 'malformed'
}

/**
 * Listens to the parts and their headers, which the parser keeps to itself. It is reached where the request is piped
 * into it, and busboy's inner Dicer is what tells of them. Its own listeners come after these.
 */
function watchParts(request: IncomingMessage, seen: SeenPart[]) {
  const { pipe } = request
  request.pipe = (busboy, ...options) => {
    request.pipe = pipe
    const { _parser: parser } = busboy as { _parser?: { parser: NodeJS.EventEmitter } }
    const emitter = busboy as unknown as NodeJS.EventEmitter
    const onPart = (stream: NodeJS.EventEmitter) => {
      const part: SeenPart = { headers: {}, name: '', handedOn: false, whole: false }
      seen.push(part)
      stream.on('header', (headers) => Object.assign(part, { headers }))
      stream.once('end', () => Object.assign(part, { whole: true }))
    }
    parser?.parser.prependListener('part', onPart)
    emitter.once('partsLimit', () => parser?.parser.removeListener('part', onPart))
    emitter.prependListener('file', (_name, file: PartFile) => keepWhole(file, seen.at(-1)!))
    return pipe.call(request, busboy, ...options) as typeof busboy
  }
}

/** Where a request ends early, the plugin fails the last part that it knows of. One that has passed whole is let be. */
function keepWhole(file: PartFile, part: SeenPart) {
  const { destroy } = file
  file.destroy = (error) => (error && part.whole ? file : destroy.call(file, error))
}
