import type { Format } from '../../../formats/format.ts'
import type { RenderRequest } from '../../../formats/render/request.ts'
import type { Metadata } from '../../../schemas/images.ts'

// A process and a sandboxed process exchange messages: four bytes with the length of a JSON text, then the text. The
// bytes of a file follow the message of its job. The sandboxed process loads this file, so it imports nothing.

/** `read`: read the metadata. `examine`: also decode the image. `render`: make a variant. */
export type Task = 'read' | 'examine' | 'render'

export interface Job extends Format {
  task: Task
  /** Only for `render`: what to make. */
  render?: RenderRequest
  /** The number of bytes that follow the message; undefined if the file is descriptor `FILE_DESCRIPTOR`. */
  size?: number
}

/** The descriptor of a file that is too large to be sent as bytes. */
export const FILE_DESCRIPTOR = 3

/**
 * The first message of a sandboxed process is `ready`. Then there is one answer to each job. Before it, an `examine` job
 * has a message with the header's metadata: the process may not survive the decoding.
 */
export interface Answer {
  ready?: boolean
  header?: Metadata
  verdict?:
    | { status: 'ready'; metadata: Metadata }
    | { status: 'corrupt' | 'failed'; failure: string; metadata?: Metadata }
    | { status: 'rejected'; failure: string }
  /** The variant. Its bytes follow the message. */
  rendered?: { size: number; width: number; height: number }
  /** Why there is no variant. */
  unrendered?: { kind: 'unrenderable' | 'undecodable'; reason: string }
  /** The process could not examine the file, for a reason that is not in the file. */
  fault?: string
  /** The process used more memory than allowed, and ends. */
  outOfMemory?: boolean
  /** The process takes no further job, and ends. */
  last?: boolean
}

export const LENGTH_BYTES = 4

export function encodeMessage(message: Job | Answer): Buffer {
  const text = Buffer.from(JSON.stringify(message))
  const length = Buffer.alloc(LENGTH_BYTES)
  length.writeUInt32BE(text.length)
  return Buffer.concat([length, text])
}
