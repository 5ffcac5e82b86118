/** A picture could not be decoded, and the message says why to whoever looks after it. */
export class Undecodable extends Error {
  override name = 'Undecodable'
  /** `corrupt`: its bytes are wrong; `failed`: it may be right, but is more than is decoded here. */
  readonly status: 'corrupt' | 'failed'

  constructor(status: 'corrupt' | 'failed', message: string) {
    super(message)
    this.status = status
  }
}

/** No decoder here knows the kind of picture: that tells nothing of it. */
export class NotDecodable extends Error {
  override name = 'NotDecodable'
}

/** @param detail what the decoder says */
export const damage = (detail: string) =>
  new Undecodable('corrupt', `it is damaged or cut off${detail && ` (${detail})`}`)

export const excess = (message: string) => new Undecodable('failed', message)
