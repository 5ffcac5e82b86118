import { once } from 'node:events'
import { createConnection } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  AckPolicy,
  type Consumer,
  JetStreamApiCodes,
  JetStreamApiError,
  type JetStreamClient,
  type JsMsg,
  jetstream,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
} from '@nats-io/jetstream'
import { type ConnectionOptions, connect, type NatsConnection, nanos } from '@nats-io/transport-node'

export const STREAM = 'HASTY_PENDING'
export const SUBJECT = 'hasty.pending'
export const CONSUMER = 'workers'

/** How often a message is delivered at most; then it is left to those who ask the database. */
const MAX_DELIVER = 20
/** How many messages all workers together may have in hand, those that wait for their next delivery among them. */
const MAX_IN_HAND = 1_000
/** How many pull requests may wait at the server, one for each idle `take`. */
const MAX_WAITING = 10_000
/** How long the stream knows the name of a message. */
const DUPLICATE_WINDOW_MS = 120_000
/** After that time a message is dropped: its image is long since on the way by the database. */
const MAX_AGE_MS = 86_400_000
/** How many announcements may wait for the server's answer; further ones are dropped. */
const MAX_UNANSWERED = 1_000

const DEFAULT_PORT = 4222
const TIMEOUT_MS = 5_000
// The client takes no shorter ones.
const SHORTEST_PULL_MS = 1_000
const PING_MS = 10_000
const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 5_000
const DISCONNECTED_WAIT_MS = 250

/** A connection with all set up. */
interface Session {
  connection: NatsConnection
  stream: JetStreamClient
  workers: Consumer
}

/**
 * JetStream's part of the queue: messages that say that an image is pending, each with the image's id. It keeps itself
 * connected, and it is allowed to fail: it never throws, and what it holds meanwhile is bounded.
 */
export interface Notifier {
  /** Whether rings arrive at this moment. */
  readonly connected: boolean
  /**
   * Sends a message; drops it where there is no connection.
   *
   * @param messageId names the message: of those with the same name only the first counts, for two minutes
   */
  notify(imageId: string, messageId: string): void
  /** Waits for a message, for about `milliseconds`; undefined where none came, `signal` was aborted or the broker failed. */
  next(signal: AbortSignal, milliseconds: number): Promise<JsMsg | undefined>
  /** Has the message come again after `milliseconds`, to any worker. */
  again(message: JsMsg, milliseconds: number): void
  close(): Promise<void>
}

/**
 * Connects to the server of `url`, and again whenever the connection is lost, for ever. Resolves after the first try.
 *
 * The stream and the consumer are made where they are missing and otherwise left as they are, so that what an operator
 * changed (replicas, placement) stays.
 *
 * @param ackWait after how many milliseconds a message comes again that a worker neither ended nor extended
 */
export async function openNotifier(url: URL, { ackWait }: { ackWait: number }): Promise<Notifier> {
  const options = connectionOptions(url)
  const closing = new AbortController()
  let session: Session | undefined
  let unanswered = 0

  /** Resolves when the connection has ended, or rejects where there was none. */
  async function connectOnce(connected: () => void) {
    await probe(url, closing.signal)
    const connection = await connect(options)
    try {
      session = await setUp(connection, ackWait)
      connected()
      if (!closing.signal.aborted) await connection.closed()
    } finally {
      session = undefined
      await connection.close()
    }
  }

  async function stayConnected(tried: () => void) {
    for (let failures = 1; !closing.signal.aborted; failures++) {
      let connectedAt = Number.POSITIVE_INFINITY
      const connected = () => {
        connectedAt = Date.now()
        tried()
      }
      const reason = await connectOnce(connected).catch((error: Error) => error.message)
      tried()
      if (closing.signal.aborted) return
      if (Date.now() - connectedAt > LONGEST_PAUSE_MS) failures = 1
      if (failures === 1) {
        process.emitWarning(
          `QUEUE_URL: ${url.host} can't be used (${reason ?? 'the connection was lost'}); ` +
            'until it can, workers ask the database',
        )
      }
      const pause = Math.random() * Math.min(FIRST_PAUSE_MS * 2 ** failures, LONGEST_PAUSE_MS)
      await sleep(pause, undefined, closing).catch(() => {})
    }
  }

  const firstTry = Promise.withResolvers<void>()
  const running = stayConnected(firstTry.resolve)
  await firstTry.promise

  return {
    get connected() {
      return session !== undefined
    },

    notify(imageId, messageId) {
      if (!session || unanswered >= MAX_UNANSWERED) return
      unanswered++
      session.stream
        .publish(SUBJECT, imageId, { msgID: messageId })
        .catch(() => {})
        .finally(() => unanswered--)
    },

    async next(signal, milliseconds) {
      const used = session
      if (!used) {
        await sleep(Math.min(milliseconds, DISCONNECTED_WAIT_MS), undefined, { signal }).catch(() => {})
        return undefined
      }
      try {
        const expires = Math.max(milliseconds, SHORTEST_PULL_MS)
        const messages = await used.workers.fetch({ max_messages: 1, expires })
        const stop = () => messages.stop()
        signal.addEventListener('abort', stop, { once: true })
        if (signal.aborted) stop()
        try {
          for await (const message of messages) {
            if (!signal.aborted) return message
            message.nak()
          }
        } finally {
          signal.removeEventListener('abort', stop)
        }
      } catch {
        // The stream or the consumer is gone, or the server is silent: a new connection sets all up again.
        if (session === used) session = undefined
        await used.connection.close()
      }
      return undefined
    },

    again(message, milliseconds) {
      // The server would keep a message that it may not deliver any more until it is too old.
      if (message.info.deliveryCount >= MAX_DELIVER) message.term()
      else message.nak(milliseconds)
    },

    async close() {
      closing.abort()
      const connection = session?.connection
      if (connection) {
        // What was said last is to arrive, but a server that is silent must not hold the process up.
        const drained = connection.drain().catch(() => {})
        await Promise.race([drained, sleep(TIMEOUT_MS, undefined, { ref: false })])
        await connection.close()
      }
      await running
    },
  }
}

/** What the URL says: `nats:` or `tls:`, a host whose addresses are all tried, and a user and password, or a token alone. */
function connectionOptions({ protocol, host, username, password }: URL): ConnectionOptions {
  const user = decodeURIComponent(username)
  const pass = decodeURIComponent(password)
  return {
    name: 'hasty',
    servers: host,
    ...(protocol === 'tls:' && { tls: {} }),
    ...(user && (pass ? { user, pass } : { token: user })),
    // The loop above connects again: it sets up the stream, too, and it is one loop for the start and for later.
    reconnect: false,
    timeout: TIMEOUT_MS,
    pingInterval: PING_MS,
    noAsyncTraces: true,
  }
}

/**
 * Resolves when a NATS server speaks at the address, as each does at once. The client, whose time for that is up, would
 * leave its socket open, one for each try.
 */
async function probe({ hostname, port }: URL, signal: AbortSignal) {
  const socket = createConnection({
    host: hostname.replace(/^\[|\]$/g, ''),
    port: Number(port || DEFAULT_PORT),
    timeout: TIMEOUT_MS,
  })
  socket.once('timeout', () => socket.destroy(new Error('no answer')))
  socket.once('end', () => socket.destroy(new Error('it hung up')))
  try {
    await once(socket, 'data', { signal })
  } finally {
    socket.destroy()
  }
}

async function setUp(connection: NatsConnection, ackWait: number): Promise<Session> {
  const { streams, consumers } = await jetstreamManager(connection, { timeout: TIMEOUT_MS })
  await streams.info(STREAM).catch(
    where(JetStreamApiCodes.StreamNotFound, () =>
      streams.add({
        name: STREAM,
        subjects: [SUBJECT],
        retention: RetentionPolicy.Workqueue,
        storage: StorageType.File,
        duplicate_window: nanos(DUPLICATE_WINDOW_MS),
        max_age: nanos(MAX_AGE_MS),
      }),
    ),
  )
  await consumers.info(STREAM, CONSUMER).catch(
    where(JetStreamApiCodes.ConsumerNotFound, () =>
      consumers.add(STREAM, {
        durable_name: CONSUMER,
        ack_policy: AckPolicy.Explicit,
        ack_wait: nanos(ackWait),
        max_deliver: MAX_DELIVER,
        max_ack_pending: MAX_IN_HAND,
        max_waiting: MAX_WAITING,
      }),
    ),
  )
  const stream = jetstream(connection, { timeout: TIMEOUT_MS })
  return { connection, stream, workers: await stream.consumers.get(STREAM, CONSUMER) }
}

const where = (code: number, handle: () => Promise<unknown>) => async (error: unknown) => {
  if (!(error instanceof JetStreamApiError && error.code === code)) throw error
  await handle()
}
