import { createReadStream, openAsBlob } from 'node:fs'
import { basename } from 'node:path'
import { DetailedError, Upload } from 'tus-js-client'
import { fetchOrFail, unreachable } from './api.ts'
import type { File, Journal } from './journal.ts'

/** Files of this size or more are sent in pieces, so that an interrupted upload continues where it stopped. */
const PIECE_BYTES = 8 * 1024 * 1024

export interface Target {
  /** The URL of the link. */
  link: string
  password?: string | undefined
  sender?: string | undefined
  message?: string | undefined
}

export interface SendOptions {
  target: Target
  journal: Journal
  /** The SHA-256 of the file in Base64. */
  digest: string
  /** The number of the file's bytes that were sent so far. */
  onProgress(bytes: number): void
}

/** Sends a file once, without another try. @throws {CommandError} the service does not answer */
export async function send(file: File, options: SendOptions): Promise<Response> {
  return file.size < PIECE_BYTES ? sendWhole(file, options) : sendPieces(file, options)
}

async function sendWhole({ path }: File, { target, digest }: SendOptions) {
  const { link, sender, message } = target
  const url = new URL(link)
  for (const [key, value] of Object.entries({ name: basename(path), sender, message }))
    if (value !== undefined) url.searchParams.set(key, value)
  const headers = { ...fieldsOf(target, digest), 'Content-Type': 'application/octet-stream' }
  return fetchOrFail(url, { method: 'POST', headers, body: await openAsBlob(path) })
}

/** Sends the file by tus, after the bytes that the service has already. */
async function sendPieces(file: File, { target, journal, digest, onProgress }: SendOptions) {
  const { link, sender, message } = target
  const headers = fieldsOf(target, digest)
  const { promise, resolve, reject } = Promise.withResolvers<Response>()
  const upload: Upload = new Upload(createReadStream(file.path) as never, {
    endpoint: `${link}/files`,
    uploadUrl: journal.unfinished(file) ?? null,
    chunkSize: PIECE_BYTES,
    uploadDataDuringCreation: true,
    storeFingerprintForResuming: false,
    // Another try begins with the offset that the service has.
    retryDelays: null,
    headers,
    metadata: { filename: basename(file.path), ...(sender && { sender }), ...(message && { message }) },
    onProgress,
    onUploadUrlAvailable: () => void journal.begin(file, upload.url!),
    onSuccess: ({ lastResponse }) => {
      // An upload that was complete before is only asked for its offset. Its result is in its resource.
      if (lastResponse.getBody()) resolve(toResponse(lastResponse))
      else fetchOrFail(upload.url!, { headers }).then(resolve, reject)
    },
    onError: (error) => {
      const answer = error instanceof DetailedError ? error.originalResponse : null
      if (answer && answer.getStatus() >= 400) resolve(toResponse(answer))
      else reject(unreachable(link, (error as Partial<DetailedError>).causingError ?? error))
    },
  })
  upload.start()
  return promise
}

function toResponse(answer: NonNullable<DetailedError['originalResponse']>) {
  return new Response(answer.getBody() || null, {
    status: answer.getStatus(),
    headers: { 'Retry-After': answer.getHeader('retry-after') ?? '' },
  })
}

const fieldsOf = ({ password }: Target, digest: string) => ({
  Accept: 'application/json',
  'Repr-Digest': `sha-256=:${digest}:`,
  ...(password !== undefined && { Authorization: `Basic ${Buffer.from(`:${password}`).toString('base64')}` }),
})
