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

/** How many times a message is delivered. After that, only the database leads workers to the image. */
const MAX_DELIVER = 20
/** How many messages may be unacknowledged in all workers together, including those that wait for redelivery. */
const MAX_UNACKNOWLEDGED = 1_000
/** How many pull requests may wait on the server: one for each idle `take`. */
const MAX_WAITING = 10_000
/** How long the stream remembers the id of a message. */
const DUPLICATE_WINDOW_MS = 120_000
/** A message that is older is dropped: a worker has found its image in the database long before. */
const MAX_AGE_MS = 86_400_000
/** How many notifications may wait for the server's response. More are dropped. */
const MAX_UNANSWERED = 1_000

const DEFAULT_PORT = 4222
const TIMEOUT_MS = 5_000
// The minimum of the client.
const SHORTEST_PULL_MS = 1_000
const PING_MS = 10_000
const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 5_000
const DISCONNECTED_WAIT_MS = 250

/** A connection with its stream and its consumer. */
interface Session {
  connection: NatsConnection
  stream: JetStreamClient
  workers: Consumer
}

/**
 * Sends and receives the ids of waiting images by JetStream. It reconnects by itself. It may lose messages, but it never
 * throws, and its memory is bounded while there is no connection.
 */
export interface Notifier {
  /** Whether there is a connection at this moment. */
  readonly connected: boolean
  /**
   * Sends a message, or drops it if there is no connection.
   *
   * @param messageId the server drops further messages with this id for two minutes
   */
  notify(imageId: string, messageId: string): void
  /** Waits about `milliseconds` for a message; undefined if none arrived, `signal` was aborted or the broker failed. */
  next(signal: AbortSignal, milliseconds: number): Promise<JsMsg | undefined>
  /** Delivers the message again after `milliseconds`, to any worker. */
  redeliver(message: JsMsg, milliseconds: number): void
  close(): Promise<void>
}

/**
 * Connects to one of the servers, and reconnects for ever when the connection is lost. Resolves after the first attempt.
 *
 * Makes the stream and the consumer if they do not exist. If they exist, it changes nothing, so that an operator's
 * changes (replicas, placement) stay.
 *
 * @param ackWait after how many milliseconds an unacknowledged message is delivered again
 */
export async function openNotifier(
  servers: readonly URL[],
  { ackWait }: { ackWait: number },
): Promise<Notifier> {
  const link = stayConnected(servers, ackWait)
  let unanswered = 0
  await link.attempted

  return {
    get connected() {
      return link.session !== undefined
    },

    notify(imageId, messageId) {
      if (!link.session || unanswered >= MAX_UNANSWERED) return
      unanswered++
      link.session.stream
        .publish(SUBJECT, imageId, { msgID: messageId })
        .catch(() => {})
        .finally(() => unanswered--)
    },

    async next(signal, milliseconds) {
      const { session } = link
      if (!session) {
        await sleep(Math.min(milliseconds, DISCONNECTED_WAIT_MS), undefined, { signal }).catch(() => {})
        return undefined
      }
      try {
        return await fetchOne(session.workers, signal, milliseconds)
      } catch {
        // The stream or the consumer is gone, or the server does not respond. A new connection sets up everything again.
        await link.renew(session)
        return undefined
      }
    },

    redeliver(message, milliseconds) {
      // A message that the server may not deliver again would stay in the stream until MAX_AGE_MS.
      if (message.info.deliveryCount >= MAX_DELIVER) message.term()
      else message.nak(milliseconds)
    },

    close: () => link.close(),
  }
}

/** A connection that is made again each time that it is lost. */
interface Link {
  /** The current session; undefined while there is no connection. */
  readonly session: Session | undefined
  /** Resolves after the first attempt to connect. */
  attempted: Promise<void>
  /** Ends a session that does not work any more, so that a new one is made. */
  renew(session: Session): Promise<void>
  close(): Promise<void>
}

function stayConnected(servers: readonly URL[], ackWait: number): Link {
  const closing = new AbortController()
  const firstTry = Promise.withResolvers<void>()
  let session: Session | undefined
  let connectedAt = Number.POSITIVE_INFINITY
  const running = keepTrying()

  async function keepTrying() {
    for (let failures = 1; !closing.signal.aborted; failures++) {
      connectedAt = Number.POSITIVE_INFINITY
      const reason = await connectOnce().then(
        () => undefined,
        (error: Error) => error.message,
      )
      firstTry.resolve()
      if (closing.signal.aborted) return
      if (Date.now() - connectedAt > LONGEST_PAUSE_MS) failures = 1
      if (failures === 1) warnOfNoConnection(servers, reason)
      const pause = Math.random() * Math.min(FIRST_PAUSE_MS * 2 ** failures, LONGEST_PAUSE_MS)
      await sleep(pause, undefined, closing).catch(() => {})
    }
  }

  /** Resolves when the connection has ended. Rejects if it could not be made. */
  async function connectOnce() {
    const server = await findServer(servers, closing.signal)
    const connection = await connect(connectionOptions(server))
    try {
      session = await setUp(connection, ackWait)
      connectedAt = Date.now()
      firstTry.resolve()
      if (!closing.signal.aborted) await connection.closed()
    } finally {
      session = undefined
      await connection.close()
    }
  }

  return {
    get session() {
      return session
    },
    attempted: firstTry.promise,
    async renew(failed) {
      if (session === failed) session = undefined
      await failed.connection.close()
    },
    async close() {
      closing.abort()
      if (session) await drain(session.connection)
      await running
    },
  }
}

const warnOfNoConnection = (servers: readonly URL[], reason = 'the connection was lost') =>
  process.emitWarning(
    `QUEUE_URL: no connection to ${servers.map(({ host }) => host).join(', ')} (${reason}). ` +
      'Until there is one, workers ask the database four times a second.',
  )

/** Closes a connection. Its last messages should arrive, but a server that does not respond must not delay the end. */
async function drain(connection: NatsConnection) {
  const drained = connection.drain().catch(() => {})
  await Promise.race([drained, sleep(TIMEOUT_MS, undefined, { ref: false })])
  await connection.close()
}

/** Pulls one message. Undefined if none arrived in time, or `signal` was aborted. */
async function fetchOne(workers: Consumer, signal: AbortSignal, milliseconds: number) {
  const expires = Math.max(milliseconds, SHORTEST_PULL_MS)
  const messages = await workers.fetch({ max_messages: 1, expires })
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
  return undefined
}

/** Reads the URL: `nats:` or `tls:`, a host, and a user and password or only a token. All addresses of a host are tried. */
function connectionOptions({ protocol, host, username, password }: URL): ConnectionOptions {
  const user = decodeURIComponent(username)
  const pass = decodeURIComponent(password)
  return {
    name: 'hasty',
    servers: host,
    ...(protocol === 'tls:' && { tls: {} }),
    ...(user && (pass ? { user, pass } : { token: user })),
    // `stayConnected` reconnects, because it also sets up the stream.
    reconnect: false,
    timeout: TIMEOUT_MS,
    pingInterval: PING_MS,
    noAsyncTraces: true,
  }
}

/** The first server that responds, in a random order. @throws the error of the last one, if none responds */
async function findServer(servers: readonly URL[], signal: AbortSignal) {
  let fault: unknown
  for (const server of shuffle(servers)) {
    try {
      await probe(server, signal)
      return server
    } catch (error) {
      fault = error
    }
  }
  throw fault
}

const shuffle = <T>(items: readonly T[]) =>
  items
    .map((item) => ({ item, order: Math.random() }))
    .sort((a, b) => a.order - b.order)
    .map(({ item }) => item)

/**
 * Resolves if a NATS server is at the address: it sends data first. Without this check, the client would leave a socket
 * open for each attempt that times out.
 */
async function probe({ hostname, port }: URL, signal: AbortSignal) {
  const socket = createConnection({
    host: hostname.replace(/^\[|\]$/g, ''),
    port: Number(port || DEFAULT_PORT),
    timeout: TIMEOUT_MS,
  })
  socket.once('timeout', () => socket.destroy(new Error('no answer')))
  socket.once('end', () => socket.destroy(new Error('it closed the connection')))
  try {
    await once(socket, 'data', { signal })
  } finally {
    socket.destroy()
  }
}

async function setUp(connection: NatsConnection, ackWait: number): Promise<Session> {
  const { streams, consumers } = await jetstreamManager(connection, { timeout: TIMEOUT_MS })
  await streams.info(STREAM).catch(
    onApiError(JetStreamApiCodes.StreamNotFound, () =>
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
    onApiError(JetStreamApiCodes.ConsumerNotFound, () =>
      consumers.add(STREAM, {
        durable_name: CONSUMER,
        ack_policy: AckPolicy.Explicit,
        ack_wait: nanos(ackWait),
        max_deliver: MAX_DELIVER,
        max_ack_pending: MAX_UNACKNOWLEDGED,
        max_waiting: MAX_WAITING,
      }),
    ),
  )
  const stream = jetstream(connection, { timeout: TIMEOUT_MS })
  return { connection, stream, workers: await stream.consumers.get(STREAM, CONSUMER) }
}

/** Handles one error of JetStream's API; throws all others. */
const onApiError = (code: number, handle: () => Promise<unknown>) => async (error: unknown) => {
  if (!(error instanceof JetStreamApiError && error.code === code)) throw error
  await handle()
}
