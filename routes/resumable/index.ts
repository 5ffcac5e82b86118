import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { IdParams } from '../../schemas/ids.ts'
import {
  createdFields,
  optionsFields,
  ResumableParams,
  ResumableUpload,
  requestFields,
  stateFields,
} from '../../schemas/resumable.ts'
import { RawImage, UploadAnswer, UploadQuery } from '../../schemas/uploads.ts'
import { networksOf } from '../../services/access/address.ts'
import * as errors from '../../services/errors.ts'
import { InvalidRequest, MismatchingUploadOffset } from '../../services/errors.ts'
import type { Appended, ResumableRequest, UploadState } from '../../services/uploads/resumable/index.ts'
import { ofBody, ofImage, problems } from '../problems.ts'
import {
  bodySize,
  bytesIn,
  CHECKSUMS,
  checksumIn,
  field,
  fileInfoIn,
  INTEROP_VERSION,
  isComplete,
  limits,
  protocolOf,
  setStateFields,
  TUS_EXTENSIONS,
  TUS_VERSION,
} from './fields.ts'

type LinkRequest = FastifyRequest<{ Params: { id: string } }>
type FileRequest = FastifyRequest<{ Params: { id: string; file: string } }>

const ofUpload = [
  errors.InvalidRequest,
  errors.UploadNotFound,
  errors.UploadGone,
  errors.UploadBusy,
  errors.Busy,
  errors.UnsupportedTusVersion,
  errors.UnsupportedMediaType,
]

const ofBytes = [
  ...ofImage,
  errors.InconsistentUploadLength,
  errors.ChecksumMismatch,
  errors.UploadTakenOver,
  errors.UploadGone,
  errors.UnsupportedTusVersion,
  errors.UnsupportedMediaType,
]

const RESULT =
  'A file that is accepted gets the response of an upload with one part. A file that is not accepted gets an error with the reason.'

/** Uploads in several requests: tus 1.0.0, and the IETF draft of resumable uploads. */
export default (async (app) => {
  const { config } = app
  const { uploads } = app.services
  const { resumable } = uploads
  app.removeContentTypeParser(['application/json', 'text/plain'])
  app.addContentTypeParser('*', (_request, _body, done) => done(null))
  app.limitFailedLookups('link')

  app.addHook('onRequest', (request, reply, done) => {
    // tus requires it in every response, also in an error.
    if (request.headers['tus-resumable'] !== undefined)
      reply.headers({ 'Tus-Resumable': TUS_VERSION, 'Tus-Version': TUS_VERSION })
    done()
  })

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

  /** Throws the error of an upload that was not accepted. */
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

  const appendSchema = {
    tags: ['uploads'],
    params: ResumableParams,
    headers: requestFields.append,
    consumes: ['application/offset+octet-stream', 'application/partial-upload'],
    body: {
      content: {
        'application/offset+octet-stream': { schema: RawImage },
        'application/partial-upload': { schema: RawImage },
      },
    },
    response: {
      200: { ...UploadAnswer, headers: stateFields },
      204: { ...Type.Null({ description: 'The bytes were appended.' }), headers: stateFields },
      ...problems(...ofBytes, ...ofUpload, errors.MismatchingUploadOffset, errors.CompletedUpload),
    },
  }

  for (const url of ['/uploads/:id/files', '/uploads/:id/files/:file']) {
    const isFile = url.endsWith(':file')
    app.options(
      url,
      {
        schema: {
          tags: ['uploads'],
          operationId: isFile ? 'describeResumableUpload' : 'describeResumableUploads',
          summary: 'The supported protocols and limits of resumable uploads',
          description: 'By the rules of tus 1.0.0 and of draft-ietf-httpbis-resumable-upload.',
          params: isFile ? ResumableParams : IdParams,
          response: {
            204: {
              ...Type.Null({ description: 'The limits are in the header fields.' }),
              headers: optionsFields,
            },
            ...problems(...ofBody),
          },
        },
      },
      async (_request, reply) =>
        reply
          .code(204)
          .headers({
            Allow: isFile ? 'DELETE, GET, HEAD, OPTIONS, PATCH, POST' : 'OPTIONS, POST',
            'Tus-Resumable': TUS_VERSION,
            'Tus-Version': TUS_VERSION,
            'Tus-Extension': TUS_EXTENSIONS,
            'Tus-Max-Size': config.maxFileSize,
            'Tus-Checksum-Algorithm': CHECKSUMS.join(','),
            'Upload-Limit': limits(config.maxFileSize, config.resumeWithin / 1000),
          })
          .send(null),
    )
  }

  app.post(
    '/uploads/:id/files',
    {
      schema: {
        tags: ['uploads'],
        operationId: 'beginResumableUpload',
        summary: 'Begin an upload of one image in several requests',
        description: `By tus 1.0.0 or draft-ietf-httpbis-resumable-upload. The body may have the first bytes, or all. ${RESULT}`,
        params: IdParams,
        querystring: UploadQuery,
        headers: requestFields.begin,
        consumes: [
          'application/offset+octet-stream',
          'application/partial-upload',
          'application/octet-stream',
        ],
        body: {
          content: {
            'application/offset+octet-stream': { schema: RawImage },
            'application/partial-upload': { schema: RawImage },
            'application/octet-stream': { schema: RawImage },
          },
        },
        response: {
          200: { ...UploadAnswer, headers: createdFields },
          201: {
            description:
              'The upload has begun. With tus, the response has the result if the body was the whole file.',
            headers: createdFields,
            ...Type.Optional(UploadAnswer),
          },
          ...problems(...ofBytes),
        },
      },
    },
    begin,
  )

  app.head(
    '/uploads/:id/files/:file',
    {
      config: { swagger: { exposeHeadRoute: true } },
      schema: {
        tags: ['uploads'],
        operationId: 'readOffset',
        summary: 'Read the offset of an upload, before it is continued',
        description:
          'A request that still appends to the upload is ended. If all bytes have arrived, the upload is completed.',
        params: ResumableParams,
        response: {
          204: { ...Type.Null({ description: 'The offset is in Upload-Offset.' }), headers: stateFields },
          ...problems(...ofUpload, errors.InsufficientStorage, errors.UploadTakenOver),
        },
      },
    },
    sendHead,
  )

  app.get(
    '/uploads/:id/files/:file',
    {
      schema: {
        tags: ['uploads'],
        operationId: 'readResumableUpload',
        summary: 'Read the state and the result of an upload',
        description:
          'The result is kept until RESUME_WITHIN, so a client that lost the last response can read it.',
        params: ResumableParams,
        response: {
          200: { ...ResumableUpload, headers: stateFields },
          ...problems(...ofUpload, errors.InsufficientStorage, errors.UploadTakenOver),
        },
      },
    },
    async (request, reply) => {
      const { id, offset, length, expiresAt, answer } = await read(request, reply, { isHead: false })
      return {
        id,
        offset,
        ...(length !== null && { length }),
        complete: answer !== undefined,
        expiresOn: expiresAt.toISOString(),
        processed: answer?.processed ?? [],
        rejected: answer?.rejected ?? [],
      }
    },
  )

  app.patch(
    '/uploads/:id/files/:file',
    {
      schema: {
        ...appendSchema,
        operationId: 'appendToUpload',
        summary: 'Append bytes to an upload',
        description: `A request that still appends to the upload is ended. ${RESULT}`,
      },
    },
    append,
  )

  app.delete(
    '/uploads/:id/files/:file',
    {
      schema: {
        tags: ['uploads'],
        operationId: 'deleteResumableUpload',
        summary: 'Delete an upload and its bytes',
        description: 'An image that was recorded stays.',
        params: ResumableParams,
        response: { 204: Type.Null({ description: 'deleted' }), ...problems(...ofUpload) },
      },
    },
    remove,
  )

  app.post(
    '/uploads/:id/files/:file',
    {
      schema: {
        ...appendSchema,
        headers: Type.Object({
          ...requestFields.append.properties,
          'x-http-method-override': Type.Optional(
            Type.String({
              description: '`PATCH`, `HEAD` or `DELETE`, for clients that cannot send these methods.',
            }),
          ),
        }),
        operationId: 'overrideMethod',
        summary: 'Send another method as POST',
        description: 'With X-HTTP-Method-Override, for clients of tus that cannot send all methods.',
      },
    },
    async (request, reply) => {
      switch (field(request, 'x-http-method-override')?.toUpperCase()) {
        case 'PATCH':
          return append(request, reply)
        case 'HEAD':
          return sendHead(request, reply)
        case 'DELETE':
          return remove(request, reply)
        default:
          throw new InvalidRequest({ detail: 'Send X-HTTP-Method-Override with PATCH, HEAD or DELETE.' })
      }
    },
  )
}) satisfies FastifyPluginAsyncTypebox

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
