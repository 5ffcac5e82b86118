import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { networksOf } from '../../services/access/address.ts'
import { InvalidRequest, MismatchingUploadOffset } from '../../services/errors.ts'
import type { Appended, ResumableRequest, UploadState } from '../../services/uploads/resumable/upload.ts'
import {
  bodySize,
  bytesIn,
  checksumIn,
  field,
  fileInfoIn,
  INTEROP_VERSION,
  isComplete,
  limits,
  protocolOf,
  setStateFields,
} from './fields.ts'

type LinkRequest = FastifyRequest<{ Params: { id: string } }>
type FileRequest = FastifyRequest<{ Params: { id: string; file: string } }>

/** Creates the handlers of the requests that begin, continue, read and delete a resumable upload. */
export function createHandlers({ config, services: { uploads } }: FastifyInstance) {
  const { resumable } = uploads

  const toService = (request: LinkRequest): ResumableRequest => ({
    linkId: request.params.id,
    network: networksOf(request.ip)[0]!,
    credentials: request.linkCredentials(),
    given: request.query as { sender?: string; message?: string },
    method: protocolOf(request),
  })

  const setFields = (request: FastifyRequest, reply: FastifyReply, state: UploadState) =>
    setStateFields(reply, state, { protocol: protocolOf(request), maxFileSize: config.maxFileSize })

  /** The body of a request, as the bytes to append. */
  function bodyOf(request: FastifyRequest, reply: FastifyReply, isLast: boolean | undefined): Appended {
    const protocol = protocolOf(request)
    return {
      stream: request.raw,
      size: bodySize(request),
      isLast,
      digests:
        protocol === 'tus'
          ? checksumIn(request)
          : [...request.digests(['content-digest'])].map(([algorithm, value]) => ({
              algorithm,
              value,
            })),
      onProgress: (offset) => sendInformation(request, reply, { 'Upload-Offset': String(offset) }),
    }
  }

  /** The response to a finished upload. @throws {Problem} the upload was not accepted */
  function answerOf(state: UploadState) {
    const problem = state.answer && uploads.problemOf(state.answer)
    if (problem) throw problem
    return state.answer
  }

  async function begin(request: LinkRequest, reply: FastifyReply) {
    const service = toService(request)
    const { method } = service
    const complete = method === 'draft' ? isComplete(request) : undefined
    if (method === 'draft' && complete === undefined) {
      throw new InvalidRequest({
        detail:
          'Send "Tus-Resumable: 1.0.0", or Upload-Complete with ?1 or ?0 and Upload-Draft-Interop-Version.',
      })
    }
    const length = bytesIn(request, 'upload-length', method)
    const isDeferred = field(request, 'upload-defer-length') === '1'
    if (method === 'tus' && (length === undefined) !== isDeferred)
      throw new InvalidRequest({ detail: 'Send either Upload-Length or "Upload-Defer-Length: 1".' })
    const query = request.query as { name?: string }
    const hasBody = bodySize(request) !== 0 || complete === true
    const upload = {
      ...fileInfoIn(request, query.name),
      length,
      digests: request.digests(['repr-digest']),
    }
    const state = await resumable.create(
      service,
      upload,
      hasBody ? bodyOf(request, reply, complete) : undefined,
      (created) => {
        reply.header('Location', locationOf(request, created))
        sendInformation(request, reply, {
          Location: locationOf(request, created),
          'Upload-Limit': limits(config.maxFileSize, (created.expiresAt.getTime() - Date.now()) / 1000),
        })
      },
    )
    setFields(request, reply, state)
    const answer = answerOf(state)
    const isSent = answer !== undefined && (method === 'draft' || wantsBody(request))
    return reply.code(method === 'draft' && answer ? 200 : 201).send(isSent ? answer : undefined)
  }

  const locationOf = ({ params }: LinkRequest, { id }: UploadState) =>
    `${config.publicUrl}/uploads/${params.id}/files/${id}`

  async function append(request: FileRequest, reply: FastifyReply) {
    const service = toService(request)
    const { method } = service
    const complete = method === 'draft' ? isComplete(request) : undefined
    if (method === 'draft' && complete === undefined)
      throw new InvalidRequest({ detail: 'Send "Tus-Resumable: 1.0.0", or Upload-Complete with ?1 or ?0.' })
    const offset = bytesIn(request, 'upload-offset', method)
    if (offset === undefined)
      throw new InvalidRequest({ detail: 'Send Upload-Offset with a number of bytes.' })
    requireMediaType(request, method)
    try {
      const state = await resumable.append(service, request.params.file, {
        offset,
        length: bytesIn(request, 'upload-length', method),
        body: bodyOf(request, reply, complete),
      })
      setFields(request, reply, state)
      const answer = answerOf(state)
      if (!answer || (method === 'tus' && !wantsBody(request))) return reply.code(204).send(null)
      return reply.code(200).send(answer)
    } catch (error) {
      if (error instanceof MismatchingUploadOffset && error.members?.['expected-offset'] !== undefined) {
        reply.header('Upload-Offset', error.members['expected-offset'])
        if (method === 'draft') reply.header('Upload-Complete', '?0')
      }
      throw error
    }
  }

  async function read(request: FileRequest, reply: FastifyReply, { isHead }: { isHead: boolean }) {
    const state = await resumable.read(toService(request), request.params.file, { replaceWriter: isHead })
    setFields(request, reply, state)
    return state
  }

  async function remove(request: FileRequest, reply: FastifyReply) {
    await resumable.remove(toService(request), request.params.file)
    return reply.code(204).send(null)
  }

  const sendHead = async (request: FileRequest, reply: FastifyReply) => {
    await read(request, reply, { isHead: true })
    return reply.code(204).send(null)
  }

  return { begin, append, read, sendHead, remove }
}

/** A client that states no Accept may follow tus strictly: its last response is then 204, without a body. */
const wantsBody = ({ headers }: FastifyRequest) => headers.accept !== undefined

function requireMediaType(request: FastifyRequest, method: ResumableRequest['method']) {
  const type = (request.headers['content-type'] ?? '').split(';', 1)[0]!.trim().toLowerCase()
  if (method === 'tus' && type !== 'application/offset+octet-stream')
    throw new InvalidRequest({ detail: 'Send Content-Type: application/offset+octet-stream.' })
}

/**
 * Sends 104 (Upload Resumption Supported) to a client of the same interop version, as the draft requires. Nothing is sent
 * after the response has begun.
 */
function sendInformation(request: FastifyRequest, { raw }: FastifyReply, fields: Record<string, string>) {
  if (field(request, 'upload-draft-interop-version') !== INTEROP_VERSION || raw.headersSent) return
  // The responses of `inject` do not have it.
  raw.writeInformation?.(104, { 'Upload-Draft-Interop-Version': INTEROP_VERSION, ...fields })
}
