import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { JsMsg } from '@nats-io/jetstream'
import { Value } from 'typebox/value'
import { Id } from '../../schemas/ids.ts'
import type { DataStore } from '../data/data-store.ts'
import { type Notifier, openNotifier } from './notifier.ts'
import {
  type Avoided,
  LEASE_MS,
  type Lease,
  leaseFairly,
  nothingAvoided,
  pauseAfter,
  type Queue,
} from './queue.ts'

const POLL_MS = 5_000
const DISCONNECTED_POLL_MS = 250

/**
 * A queue whose notifier is NATS JetStream. A message contains only the id of a waiting image. The worker that receives it
 * asks the database for the lease of that image. So a message that is late, early or doubled does no harm.
 *
 * Messages may be lost. Therefore `take` also asks the database for any image that is due: every `pollMs` milliseconds,
 * at once if the last answer was an image and no message arrived, and four times a second while there is no connection.
 */
export async function openJetStreamQueue(
  servers: readonly URL[],
  { imageLeases }: Pick<DataStore, 'imageLeases'>,
  { leaseMs = LEASE_MS, pollMs = POLL_MS } = {},
): Promise<Queue> {
  const notifier = await openNotifier(servers, { ackWait: leaseMs })
  const leases = createMessageLeases(notifier, imageLeases, leaseMs)
  let polledAt = 0
  let quiet = true

  const untilPoll = () =>
    Math.max(0, polledAt + (notifier.connected ? pollMs : DISCONNECTED_POLL_MS) - Date.now())

  async function poll(avoided: Avoided) {
    polledAt = Date.now()
    const lease = await leaseFairly(imageLeases, avoided, leaseMs)
    if (lease && quiet) polledAt = 0
    return lease
  }

  return {
    get isConnected() {
      return notifier.connected
    },

    announce: (imageId) => notifier.notify(imageId, imageId),

    async take(signal, avoided = nothingAvoided) {
      while (!signal.aborted) {
        // A message names an image of any link, so the database is asked if some must wait.
        const now = avoided()
        const due = (untilPoll() <= 0 || now.images.length > 0) && (await poll(now))
        if (due) return due
        if (now.strictly) {
          await sleep(DISCONNECTED_POLL_MS, undefined, { signal }).catch(() => {})
          continue
        }
        const message = await notifier.next(signal, untilPoll())
        if (message && avoided().strictly) {
          notifier.redeliver(message, DISCONNECTED_POLL_MS)
          continue
        }
        quiet = !message
        const lease = message && (await leases.take(message))
        if (lease) return lease
      }
      return undefined
    },

    async extend(lease) {
      const held = await imageLeases.extend(lease, { milliseconds: leaseMs })
      if (held) leases.messageOf(lease)?.working()
      return held
    },

    done(lease) {
      leases.messageOf(lease)?.ack()
    },

    async retry(lease, failure) {
      const milliseconds = pauseAfter(lease.attempt)
      await imageLeases.release(lease, { milliseconds, failure, counts: 'attempt' })
      leases.notifyAgain(lease, milliseconds)
    },

    async delay(lease, reason) {
      const milliseconds = pauseAfter(lease.delays + 1)
      await imageLeases.release(lease, { milliseconds, failure: reason, counts: 'delay' })
      leases.notifyAgain(lease, milliseconds)
    },

    async release(lease) {
      await imageLeases.release(lease, { milliseconds: 0, counts: 'nothing' })
      leases.notifyAgain(lease, 0)
    },

    waiting: () => imageLeases.waiting(),

    close: () => notifier.close(),
  }
}

/** The leases of images that messages name. */
function createMessageLeases(
  notifier: Notifier,
  imageLeases: DataStore['imageLeases'],
  milliseconds: number,
) {
  const messages = new WeakMap<Lease, JsMsg>()
  return {
    /** The message that led to a lease. A lease that came from the database has none. */
    messageOf: (lease: Lease) => messages.get(lease),

    /** Leases the image of a message. Undefined if it is not waiting, or not yet: then the message is delivered again. */
    async take(message: JsMsg): Promise<Lease | undefined> {
      const imageId = message.string()
      if (!Value.Check(Id, imageId)) {
        message.term()
        return undefined
      }
      try {
        const lease = await imageLeases.leaseOne({ imageId, token: randomUUID(), milliseconds })
        if (lease) {
          messages.set(lease, message)
          return lease
        }
        const dueIn = await imageLeases.dueIn(imageId)
        if (dueIn === undefined) message.ack()
        else notifier.redeliver(message, Math.max(1, Math.ceil(dueIn)))
        return undefined
      } catch (error) {
        notifier.redeliver(message, pauseAfter(1))
        throw error
      }
    },

    /** Notifies a worker of the image of a lease after a pause. */
    notifyAgain(lease: Lease, pause: number) {
      const message = messages.get(lease)
      if (message) notifier.redeliver(message, pause)
      // The image was found in the database. Its own message may be delayed until the lease would have ended.
      else notifier.notify(lease.imageId, lease.token)
    },
  }
}
