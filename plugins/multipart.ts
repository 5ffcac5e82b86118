import type { IncomingMessage } from 'node:http'
import { MIMEType } from 'node:util'
import { Dicer } from '@fastify/busboy'
import multipart from '@fastify/multipart'
import fp from 'fastify-plugin'
import type { RejectionReason } from '../schemas/uploads.ts'
import { type Digests, parseDigests } from '../services/uploads/digests.ts'
import { readDisposition } from '../services/uploads/disposition.ts'
import type { Part, TextPart } from '../services/uploads/part.ts'
import { LimitedFile } from './limited-file.ts'
import { createPaddingFilter } from './transport-padding.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /**
     * Reads multipart/form-data (RFC 7578) part by part. If the caller stops before the end, the rest of the body is
     * read and dropped.
     */
    readParts(): AsyncGenerator<Part, void, void>
  }
}

// Each part above MAX_FILES is named in the response, up to this number. Then the rest of the request is not parsed.
const EXTRA_PARTS = 100
const MAX_FIELDS_OF_PART = 50
// The longest message has 1000 characters of up to 4 bytes.
const MAX_TEXT_BYTES = 8 * 1024
const MAX_TEXTS = 10
const TEXTS = ['sender', 'message'] as const
// RFC 2046 §5.1.1 allows 70 characters. The parser supports 252.
const MAX_BOUNDARY_LENGTH = 200

interface Limits {
  /** Bytes of a part. The rest of a larger part is dropped. */
  maxFileSize: number
  maxFiles: number
}

/**
 * `@fastify/multipart` accepts the media type and provides `isMultipart()`. Its `parts()` does not give the header
 * fields of a part, which may include a digest. Therefore the parts are read with the parser that it uses itself.
 */
export default fp(
  async (app) => {
    const { maxFileSize, maxFiles } = app.config
    await app.register(multipart)
    app.decorateRequest('readParts', function () {
      return readParts(this.raw, { maxFileSize, maxFiles })
    })
  },
  { name: 'multipart', dependencies: ['config'] },
)

async function* readParts(request: IncomingMessage, limits: Limits): AsyncGenerator<Part, void, void> {
  const boundary = boundaryOf(request)
  if (boundary === undefined) {
    request.resume()
    yield { name: '', fault: 'malformed' }
    return
  }
  const parts = new PartCollector(boundary, limits)
  const stop = feed(parts, request)
  try {
    for (let part = await parts.next(); part; part = await parts.next()) yield part
  } finally {
    stop()
  }
}

function boundaryOf({ headers }: IncomingMessage) {
  try {
    const boundary = new MIMEType(headers['content-type'] ?? '').params.get('boundary')
    return boundary !== null && boundary.length <= MAX_BOUNDARY_LENGTH ? boundary : undefined
  } catch {
    return undefined
  }
}

/**
 * Feeds the body of a request to a collector, as fast as the parts are read.
 *
 * @returns a function that stops it. The rest of the body is then read and dropped, because a client that still sends may
 *   read the response only afterwards.
 */
function feed(parts: PartCollector, request: IncomingMessage) {
  const write = (chunk: Buffer) => {
    if (!parts.write(chunk)) request.pause()
  }
  const end = () => parts.endBody()
  parts.onDrain(() => request.resume())
  // A lost connection ends the body too. The parser then reports which part is incomplete.
  request.on('data', write).once('end', end).once('close', end)
  return () => {
    request.off('data', write).off('end', end).off('close', end).resume()
  }
}

/** Parses a body and collects its parts. One chunk of the body may have many. */
class PartCollector {
  readonly #parser: Dicer
  readonly #withoutPadding: (chunk: Buffer) => Buffer
  readonly #limits: Limits
  readonly #parts: Part[] = []
  #count = 0
  #texts = 0
  /** The header of the newest part is not complete. */
  #isInHeader = false
  #isEnded = false
  #isEmpty = true
  /** The body ended before its last boundary, and no part that the caller knows of was incomplete. */
  #isCutOff = false
  #wake: () => void = () => {}

  constructor(boundary: string, limits: Limits) {
    this.#parser = new Dicer({ boundary, maxHeaderPairs: MAX_FIELDS_OF_PART })
    this.#withoutPadding = createPaddingFilter(boundary)
    this.#limits = limits
    this.#parser.on('part', this.#onPart)
    this.#parser.on('error', () => {
      this.#isCutOff = true
    })
    this.#parser.once('finish', () => {
      this.#endHeader()
      if (this.#isCutOff && !this.#isEmpty) this.#add({ name: '', fault: 'incomplete' })
      this.#end()
    })
  }

  /** Parses a chunk of the body. Returns `false` when the caller should wait for `onDrain`. */
  write(chunk: Buffer): boolean {
    this.#isEmpty = false
    return this.#parser.write(this.#withoutPadding(chunk))
  }

  onDrain(listener: () => void) {
    this.#parser.on('drain', listener)
  }

  endBody() {
    if (!this.#parser.writableEnded) this.#parser.end()
  }

  /** The next part, or `undefined` after the last. */
  async next(): Promise<Part | undefined> {
    while (this.#parts.length === 0 && !this.#isEnded) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    return this.#parts.shift()
  }

  #onPart = (stream: Dicer.PartStream) => {
    this.#endHeader()
    const index = this.#count++ - this.#texts
    if (index === this.#limits.maxFiles + EXTRA_PARTS) return this.#refuseMore(stream)
    this.#isInHeader = true
    let file: LimitedFile | undefined
    let isAdded = false
    stream.once('header', (fields) => {
      this.#isInHeader = false
      const texts = this.#texts
      file = this.#addPart(stream, fields as PartFields, index)
      isAdded = this.#texts === texts
    })
    // The body ended within this part.
    stream.on('error', (error) => {
      this.#isInHeader = false
      if (isAdded) this.#isCutOff = false
      file?.destroy(error)
    })
  }

  #addPart(stream: Dicer.PartStream, fields: PartFields, index: number): LimitedFile | undefined {
    const { name, fault, digests, text } = describePart(fields)
    if (text && !fault && this.#texts < MAX_TEXTS) {
      this.#texts++
      this.#add({ name: text, text: readText(stream) })
      return undefined
    }
    if (fault || index >= this.#limits.maxFiles) {
      stream.resume()
      this.#add({ name, fault: index >= this.#limits.maxFiles ? 'too_many_files' : fault! })
      return undefined
    }
    const file = stream.pipe(new LimitedFile(this.#limits.maxFileSize))
    this.#add({ name, file, digests })
    return file
  }

  /** A part whose header never ended is not a part of multipart/form-data. */
  #endHeader() {
    if (this.#isInHeader) this.#add({ name: '', fault: 'malformed' })
    this.#isInHeader = false
  }

  #refuseMore(stream: Dicer.PartStream) {
    this.#parser.removeListener('part', this.#onPart)
    stream.on('error', () => {}).resume()
    this.#add({ name: '', fault: 'too_many_files' })
    this.#end()
  }

  #add(part: Part) {
    if (this.#isEnded) return
    this.#parts.push(part)
    this.#wake()
  }

  #end() {
    this.#isEnded = true
    this.#wake()
  }
}

/** The text of a part in UTF-8 (RFC 7578 §5.1.2). What is above the limit is dropped. */
async function readText(stream: Dicer.PartStream): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  stream.on('data', (chunk: Buffer) => {
    if (size <= MAX_TEXT_BYTES) chunks.push(chunk)
    size += chunk.length
  })
  await new Promise<void>((resolve) => {
    stream.once('end', resolve).once('error', resolve)
  })
  return Buffer.concat(chunks).toString('utf8')
}

/** The header fields of a part: each value has one character for each byte. */
type PartFields = Record<string, string[] | undefined>

interface Described {
  name: string
  /** The part is this text field. */
  text?: TextPart['name']
  fault?: RejectionReason
  digests: Digests
}

function describePart(fields: PartFields): Described {
  const { type, name, fileName } = readDisposition(fields['content-disposition']?.[0] ?? '')
  const digests = parseDigests([fields['content-digest'] ?? [], fields['repr-digest'] ?? []].flat())
  const text = fileName === undefined ? TEXTS.find((text) => text === name) : undefined
  const described = {
    name: fileName || name || '',
    digests: digests ?? new Map(),
    ...(text && { text }),
  }
  if (type !== 'form-data' || name === undefined || !digests) return { ...described, fault: 'malformed' }
  if (isEncoded(fields['content-transfer-encoding']?.[0]))
    return { ...described, fault: 'unsupported_encoding' }
  return described
}

// RFC 2045 §6.2: with these encodings the bytes are sent unchanged.
const isEncoded = (encoding = 'binary') => !/^\s*(7bit|8bit|binary)?\s*$/i.test(encoding)
