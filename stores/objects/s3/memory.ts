const MIB = 2 ** 20

/**
 * The bytes of each part of a multipart upload, except the last. S3 requires at least 5 MiB and at most 10,000 parts, R2
 * requires equal sizes. So an object has at most 78 GiB.
 */
export const PART_BYTES = 8 * MIB

/**
 * The memory of all uploads of a process. Uploads that receive bytes and uploads that only send have separate budgets: so
 * a client that stops sending never delays an upload whose bytes have all arrived.
 */
export interface MemoryBudget {
  /** Opens the account of one upload. */
  open(): UploadMemory
  /** Bytes that are reserved at this moment. */
  readonly reserved: number
}

/** The part of the budget that one upload uses. */
export interface UploadMemory {
  /** Reserves bytes to receive into; false if the budget has too few left. */
  tryReserve(bytes: number): boolean
  /** Returns some of these bytes. */
  release(bytes: number): void
  /** Reserves bytes to send from; waits until the budget has enough. */
  reserveForSending(bytes: number): Promise<void>
  /**
   * A buffer of `PART_BYTES`, which are reserved already. It is one that an upload has released, if the garbage collector
   * has not freed it yet: new buffers would fill the memory until it runs.
   */
  takePart(): Buffer
  /** Ends the use of all these buffers of this upload. Call it only if no request can still send from one of them. */
  releaseParts(): void
  /** Returns all bytes. It may be called several times. */
  close(): void
}

/**
 * @param receiving bytes for all uploads that receive; more are written to temporary files
 * @param sending bytes for all uploads that are sent from temporary files; at least what one upload reserves
 */
export function createMemoryBudget({ receiving = 128 * MIB, sending = 48 * MIB } = {}): MemoryBudget {
  let freeToReceive = receiving
  let freeToSend = sending
  const waiting: { bytes: number; resolve: () => void }[] = []
  const released: WeakRef<Buffer>[] = []

  function takeReleased() {
    for (let last = released.pop(); last; last = released.pop()) {
      const part = last.deref()
      if (part) return part
    }
    return undefined
  }

  function serveWaiting() {
    for (let first = waiting[0]; first && first.bytes <= freeToSend; first = waiting[0]) {
      waiting.shift()
      freeToSend -= first.bytes
      first.resolve()
    }
  }

  return {
    get reserved() {
      return receiving - freeToReceive + (sending - freeToSend)
    },

    open() {
      let received = 0
      let sent = 0
      let taken: Buffer[] = []
      const release = (bytes: number) => {
        received -= bytes
        freeToReceive += bytes
      }
      return {
        tryReserve(bytes) {
          if (bytes > freeToReceive) return false
          freeToReceive -= bytes
          received += bytes
          return true
        },
        release,
        async reserveForSending(bytes) {
          const { promise, resolve } = Promise.withResolvers<void>()
          waiting.push({ bytes, resolve })
          serveWaiting()
          await promise
          sent += bytes
        },
        takePart() {
          const part = takeReleased() ?? Buffer.allocUnsafeSlow(PART_BYTES)
          taken.push(part)
          return part
        },
        releaseParts() {
          for (const part of taken) released.push(new WeakRef(part))
          taken = []
        },
        close() {
          taken = []
          release(received)
          freeToSend += sent
          sent = 0
          serveWaiting()
        },
      }
    },
  }
}
