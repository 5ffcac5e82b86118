/** The reason why a decoder has made no picture. */
export type FailureKind =
  /** The bytes are wrong. */
  | 'damage'
  /** The picture exceeds a limit of ours. */
  | 'own limit'
  /** The picture exceeds a limit of the decoder. */
  | 'limit'
  /** The decoder does not support this kind of picture. */
  | 'unsupported'
  /** The decoder's message is not known. */
  | 'unknown'

/** A decoder has made no picture. The message is for the admin. */
export class Undecodable extends Error {
  override name = 'Undecodable'
  readonly kind: FailureKind

  constructor(kind: FailureKind, message: string) {
    super(message)
    this.kind = kind
  }

  /** Whether another way of decoding is useless or too expensive. */
  get isFinal(): boolean {
    return this.kind === 'own limit'
  }

  /** Only wrong bytes make an image corrupt: another decoder may support the rest. */
  get status(): 'corrupt' | 'failed' {
    return this.kind === 'damage' ? 'corrupt' : 'failed'
  }
}

/** @param detail the decoder's message */
export const damage = (detail: string) =>
  new Undecodable('damage', `the image is damaged or cut off${detail && ` (${detail})`}`)

/** The picture exceeds a limit of ours, which the message names. */
export const excess = (message: string) => new Undecodable('own limit', message)

/** @param detail the decoder's message */
export const decoderLimit = (detail: string) =>
  new Undecodable('limit', `the image exceeds a limit of the decoder (${detail})`)

/** @param detail the decoder's message */
export const unsupported = (detail: string) =>
  new Undecodable('unsupported', `the decoder does not support this kind of image${detail && ` (${detail})`}`)

/** No decoder in use supports the format, so nothing follows for the file. */
export class NoDecoder extends Error {
  override name = 'NoDecoder'
}
