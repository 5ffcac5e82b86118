import type { Readable } from 'node:stream'
import { formatOf } from '../../../formats/format.ts'
import { Metadata } from '../../../schemas/images.ts'
import { type Answer, LENGTH_BYTES } from './messages.ts'

// This is the parent's side of the protocol. A file may have taken control of a sandboxed process, so each answer is checked by hand: a
// library for schemas would take 7 MB of memory in the API process.

const MAX_MESSAGE_BYTES = 2 ** 16
const MAX_TEXT_LENGTH = 2_000
/** A larger variant is not used. */
const MAX_CONTENT_BYTES = 2 ** 26

/** The answers of a sandboxed process. The calls resolve with undefined at the end of the stream. */
export interface Answers {
  next(): Promise<Answer | undefined>
  /** The bytes that follow an answer. */
  bytes(length: number): Promise<Buffer | undefined>
}

/** A sandboxed process sent a message that is not an answer. */
export class InvalidAnswer extends Error {
  override name = 'InvalidAnswer'
}

/**
 * Reads the answers of a sandboxed process.
 *
 * @throws {InvalidAnswer} by `next`
 */
export function readAnswers(stream: Readable): Answers {
  const chunks = stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>
  let held: Buffer = Buffer.alloc(0)

  async function hold(length: number) {
    while (held.length < length) {
      const { value, done } = await chunks.next()
      if (done) return false
      held = Buffer.concat([held, value])
    }
    return true
  }

  async function next() {
    if (!(await hold(LENGTH_BYTES))) return undefined
    const length = held.readUInt32BE()
    if (length > MAX_MESSAGE_BYTES) throw new InvalidAnswer(`a message of ${length} bytes`)
    if (!(await hold(LENGTH_BYTES + length))) return undefined
    const text = held.toString('utf8', LENGTH_BYTES, LENGTH_BYTES + length)
    held = held.subarray(LENGTH_BYTES + length)
    return parseAnswer(text)
  }

  async function bytes(length: number) {
    const pieces: Buffer[] = []
    for (let missing = length; ; ) {
      const piece = held.subarray(0, missing)
      held = held.subarray(piece.length)
      pieces.push(piece)
      missing -= piece.length
      if (missing === 0) return Buffer.concat(pieces)
      const { value, done } = await chunks.next()
      if (done) return undefined
      held = value
    }
  }

  return { next, bytes }
}

function parseAnswer(text: string): Answer {
  let answer: Partial<Record<keyof Answer, unknown>>
  try {
    answer = JSON.parse(text)
  } catch {
    throw new InvalidAnswer('a message that is not JSON')
  }
  const { ready, header, verdict, rendered, unrendered, fault, outOfMemory, last } = Object(answer)
  const isAnswer =
    isObject(answer) &&
    [ready, outOfMemory, last].every((flag) => flag === undefined || typeof flag === 'boolean') &&
    (header === undefined || isMetadata(header)) &&
    (fault === undefined || isText(fault)) &&
    (rendered === undefined || isRendered(rendered)) &&
    (unrendered === undefined || isUnrendered(unrendered)) &&
    (verdict === undefined || isVerdict(verdict))
  if (!isAnswer) throw new InvalidAnswer('a message that is not an answer')
  return answer as Answer
}

type Fields = Record<string, unknown>
const isObject = (value: unknown): value is Fields => typeof value === 'object' && value !== null
// A database does not accept a NUL.
const isText = (value: unknown) =>
  typeof value === 'string' &&
  value.length <= MAX_TEXT_LENGTH &&
  !value.includes('\0') &&
  value.isWellFormed()

function isRendered(rendered: unknown): boolean {
  if (!isObject(rendered)) return false
  const { size, width, height } = rendered
  return isCount(size, MAX_CONTENT_BYTES) && isCount(width, MAX_INTEGER) && isCount(height, MAX_INTEGER)
}

const isCount = (value: unknown, maximum: number) =>
  typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= maximum

const isUnrendered = (unrendered: unknown) =>
  isObject(unrendered) &&
  (unrendered.kind === 'unrenderable' || unrendered.kind === 'undecodable') &&
  isText(unrendered.reason)

function isVerdict(verdict: unknown): boolean {
  if (!isObject(verdict)) return false
  const { status, failure, metadata } = verdict
  if (status === 'ready') return failure === undefined && isMetadata(metadata)
  if (status === 'rejected') return isText(failure) && metadata === undefined
  return (
    (status === 'corrupt' || status === 'failed') &&
    isText(failure) &&
    (metadata === undefined || isMetadata(metadata))
  )
}

interface Rule {
  type: 'string' | 'number' | 'integer' | 'boolean'
  minimum?: number
  maximum?: number
}
const rules = Metadata.properties as unknown as Record<string, Rule>
const MAX_INTEGER = 2 ** 31 - 1

function isMetadata(metadata: unknown): boolean {
  if (!isObject(metadata)) return false
  // The media type becomes a header field of responses, so it must be that of the format.
  const { format, mediaType } = metadata
  if (typeof mediaType !== 'string' || formatOf(mediaType)?.format !== format) return false
  return Object.entries(metadata).every(([name, value]) => {
    const rule = Object.hasOwn(rules, name) ? rules[name] : undefined
    return rule !== undefined && matches(value, rule)
  })
}

function matches(value: unknown, { type, minimum = -MAX_INTEGER, maximum = MAX_INTEGER }: Rule) {
  if (type === 'string') return isText(value)
  if (type === 'boolean') return typeof value === 'boolean'
  if (typeof value !== 'number' || !(value >= minimum && value <= maximum)) return false
  return type === 'number' || Number.isInteger(value)
}
