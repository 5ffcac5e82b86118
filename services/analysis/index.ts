import { setTimeout as sleep } from 'node:timers/promises'
import type { Verdict } from '../../stores/data/interfaces/image-leases.ts'
import type { Stores } from '../../stores/index.ts'
import { LEASE_MS, type Lease } from '../../stores/queue/queue.ts'
import { measure } from '../../stores/telemetry.ts'
import { removeVariants } from '../variants/remove.ts'
import { removeTemporaryFiles, withContent } from './content.ts'
import { decoderLimits, timeLimitOf } from './limits.ts'
import { createOccupancy, type Occupancy } from './occupancy.ts'
import { createDecoder, type Decoder, DecoderTimeout, DecoderUnavailable } from './sandbox/decoder.ts'
import { detectSandbox } from './sandbox/levels.ts'

const MAX_ATTEMPTS = 3
/** How long a pipeline waits after a store did not answer. */
const PAUSE_MS = 1_000

interface Log {
  info(context: object, message: string): void
  error(context: object, message: string): void
}

interface Context {
  stores: Stores
  /** The accepted media types; undefined: all known ones. */
  accept?: ReadonlySet<string> | undefined
  log: Log
}

/** The result of the decode stage. The settle stage writes it. */
type Outcome =
  | { kind: 'verdict'; verdict: Verdict }
  | { kind: 'retry'; failure: string }
  | { kind: 'delay'; error: Error }

/**
 * Creates the analysis of a worker process. It takes images from the queue, reads their metadata, and checks that they
 * can be decoded.
 *
 * @param concurrency the number of images that are analysed at the same time, each in a decoder process; as many as
 *   fit in memory if absent
 */
export function createAnalysis({ concurrency, ...context }: Context & { concurrency?: number }) {
  return {
    /** Analyses images until `signal` is aborted. Resolves when the images in progress are settled. */
    async run(signal: AbortSignal): Promise<void> {
      const limits = { ...decoderLimits(), ...(concurrency && { concurrency }) }
      await removeTemporaryFiles().catch((err) =>
        context.log.error({ err }, 'temporary files cannot be removed'),
      )
      const { level, limited } = await detectSandbox()
      const occupancy = createOccupancy(limits.concurrency)
      context.log.info({ sandbox: level, limited, ...limits }, 'decoders are isolated')
      await Promise.all(
        Array.from({ length: limits.concurrency }, () =>
          runPipeline(context, { ...limits, occupancy }, signal),
        ),
      )
    },
  }
}

/**
 * Analyses one image after the other, in three stages: take, decode, settle. The decoder reads the next image while the
 * verdict on the last one is written.
 */
async function runPipeline(
  context: Context,
  { memory, occupancy }: { memory: number; occupancy: Occupancy },
  signal: AbortSignal,
) {
  const decoder = createDecoder('examine', { sandbox: detectSandbox(), memory })
  let settling = Promise.resolve()
  while (!signal.aborted) {
    const lease = await take(context, occupancy, signal)
    if (!lease) continue
    const stopExtending = extendRepeatedly(context, lease)
    const outcome = await measure({ kind: 'analysis', name: 'decode', trace: lease.trace ?? undefined }, () =>
      occupancy.during(lease.imageId, () => decode(context, lease, decoder)),
    )
    await settling
    settling = settle(context, lease, outcome).finally(stopExtending)
    if (outcome.kind === 'delay') await sleep(PAUSE_MS, undefined, { signal }).catch(() => {})
  }
  await settling
  await decoder.close()
}

/** Leases the next image. Resolves with undefined, after a pause, if the database does not answer. */
async function take({ stores: { queue }, log }: Context, occupancy: Occupancy, signal: AbortSignal) {
  try {
    return await queue.take(signal, occupancy.avoided)
  } catch (error) {
    log.error({ err: error }, 'no image can be taken from the queue')
    await sleep(PAUSE_MS, undefined, { signal }).catch(() => {})
    return undefined
  }
}

/** Extends a lease until the returned function is called. */
function extendRepeatedly({ stores: { queue } }: Context, lease: Lease) {
  const extending = setInterval(() => queue.extend(lease).catch(() => {}), LEASE_MS / 3)
  return () => clearInterval(extending)
}

/** A decoder has failed on the image: it crashed, or needed too much time. */
class DecoderFailed extends Error {}

/** An error of a decoder that could not be started or reached is no result on the image. */
function asDecoderFailed(error: Error): never {
  throw error instanceof DecoderUnavailable ? error : new DecoderFailed(error.message, { cause: error })
}

async function decode(context: Context, lease: Lease, decoder: Decoder): Promise<Outcome> {
  const { imageId, attempt, format, mediaType } = lease
  try {
    const store = context.stores.objects.at(lease)
    const milliseconds = timeLimitOf(format)
    const verdict = await withContent(store, imageId, (content) =>
      decoder.run({ format, mediaType }, content, { milliseconds }).catch(asDecoderFailed),
    )
    return { kind: 'verdict', verdict: rejectUnlessAccepted(context, lease, verdict) }
  } catch (error) {
    // Only a decoder's result counts as an attempt.
    if (!(error instanceof DecoderFailed)) return { kind: 'delay', error: error as Error }
    const { message, cause } = error
    // A second attempt would take as long.
    if (!(cause instanceof DecoderTimeout) && attempt < MAX_ATTEMPTS)
      return { kind: 'retry', failure: message }
    context.log.error({ err: error, imageId }, 'an image cannot be analysed')
    const header = cause instanceof DecoderTimeout && cause.metadata ? { metadata: cause.metadata } : {}
    const verdict: Verdict = { status: 'failed', failure: message, ...header }
    return { kind: 'verdict', verdict: rejectUnlessAccepted(context, lease, verdict) }
  }
}

/** Rejects a pending image whose media type is not accepted. A ready image was accepted when it was uploaded. */
function rejectUnlessAccepted({ accept }: Context, { pending }: Lease, verdict: Verdict): Verdict {
  const mediaType = 'metadata' in verdict ? verdict.metadata?.mediaType : undefined
  return pending && mediaType && accept?.has(mediaType) === false
    ? { status: 'rejected', failure: `${mediaType} is not accepted by this server` }
    : verdict
}

/** Writes the outcome of an analysis. Never rejects: if a store does not answer, the lease runs out and the image is analysed again. */
async function settle(context: Context, lease: Lease, outcome: Outcome): Promise<void> {
  const { queue } = context.stores
  try {
    if (outcome.kind === 'verdict') return await writeVerdict(context, lease, outcome.verdict)
    if (outcome.kind === 'retry') return await queue.retry(lease, outcome.failure)
    context.log.error({ err: outcome.error, imageId: lease.imageId }, 'an image cannot be read now')
    await queue.delay(lease, outcome.error.message)
  } catch (error) {
    context.log.error({ err: error }, 'the result of an analysis cannot be written')
  }
}

async function writeVerdict({ stores, log }: Context, lease: Lease, verdict: Verdict) {
  const { imageId, attempt } = lease
  const settled = await stores.data.imageLeases.settle(lease, verdict)
  stores.queue.done(lease)
  if (!settled) return
  if (verdict.status === 'rejected') {
    await stores.objects.at(lease).delete(imageId)
    await removeVariants(stores, [{ id: imageId, region: lease.region }])
  }
  log.info({ imageId, attempt, status: verdict.status }, 'image analysed')
}
