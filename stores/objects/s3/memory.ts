const MIB = 2 ** 20

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
        close() {
          release(received)
          freeToSend += sent
          sent = 0
          serveWaiting()
        },
      }
    },
  }
}
