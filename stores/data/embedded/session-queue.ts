import type { PGlite } from '@electric-sql/pglite'
import type { PGLiteSocketHandler } from '@electric-sql/pglite-socket'

type QueryQueue = ConstructorParameters<typeof PGLiteSocketHandler>[0]['queryQueue']

interface Turn {
  connection: number
  message: Uint8Array
  onData: (data: Uint8Array) => void
  resolve: (bytes: number) => void
  reject: (error: unknown) => void
}

const code = (letter: string) => letter.charCodeAt(0)
// https://www.postgresql.org/docs/current/protocol-message-formats.html
const IN_A_STATEMENT = new Set([...'PBDECHFdcf'].map(code))
const SYNC = Uint8Array.of(code('S'), 0, 0, 0, 4)
const ROLLBACK = Uint8Array.of(code('Q'), 0, 0, 0, 13, ...Buffer.from('rollback\0'))

/**
 * Shares PGlite's only session between connections. A connection has the session from the first message of a statement to
 * its Sync, or to the end of its transaction. The package's own queue switches after every message outside a
 * transaction, so that a connection executes a statement that another connection has bound
 * (https://github.com/electric-sql/pglite/issues/1046).
 */
export function createSessionQueue(database: PGlite): QueryQueue {
  let waiting: Turn[] = []
  let holder: number | undefined
  let running = false

  function next() {
    const index = holder === undefined ? 0 : waiting.findIndex(({ connection }) => connection === holder)
    return index < 0 ? undefined : waiting.splice(index, 1)[0]
  }

  async function run() {
    if (running) return
    running = true
    for (let turn = next(); turn; turn = next()) {
      holder = turn.connection
      const { onData } = turn
      let bytes = 0
      try {
        await database.execProtocolRawStream(turn.message, {
          onRawData: (data) => {
            bytes += data.length
            onData(data)
          },
        })
        turn.resolve(bytes)
      } catch (error) {
        turn.reject(error)
      }
      if (!IN_A_STATEMENT.has(turn.message[0]!) && !database.isInTransaction()) holder = undefined
    }
    running = false
  }

  function enqueue(connection: number, message: Uint8Array, onData: Turn['onData']) {
    const { promise, resolve, reject } = Promise.withResolvers<number>()
    waiting.push({ connection, message, onData, resolve, reject })
    run()
    return promise
  }

  const queue = {
    enqueue,

    getQueueLength: () => waiting.length,

    /** Drops the waiting messages of a closed connection. */
    clearQueueForHandler(connection: number) {
      for (const turn of waiting) if (turn.connection === connection) turn.reject(new Error('disconnected'))
      waiting = waiting.filter((turn) => turn.connection !== connection)
    },

    /** Ends the statement and the transaction of a closed connection. */
    async clearTransactionIfNeeded(connection: number) {
      if (holder !== connection) return
      await Promise.all([SYNC, ROLLBACK].map((message) => enqueue(connection, message, () => {})))
    },
  }
  // The package types its queue as a class with private members.
  return queue as unknown as QueryQueue
}
