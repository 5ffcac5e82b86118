import { createHash, randomUUID } from 'node:crypto'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { formatOf } from '../../formats/format.ts'
import { mediaTypes, type RenderRequest } from '../../formats/render/request.ts'
import type { ServedRow } from '../../stores/data/interfaces/images.ts'
import type { MadeVariant, VariantFailure, VariantRow } from '../../stores/data/interfaces/variants.ts'
import type { Stores } from '../../stores/index.ts'
import { measure } from '../../stores/telemetry.ts'
import { withContent } from '../analysis/content.ts'
import { timeLimitOf } from '../analysis/limits.ts'
import { type Decoder, DecoderUnavailable, type FileContent } from '../analysis/sandbox/decoder.ts'
import { Busy, ImageGone, ImageNotDecodable, ImageNotShowable, VariantFailed } from '../errors.ts'
import { readObject } from '../images/content.ts'
import { newVariantKey } from './keys.ts'
import type { Renderers } from './renderers.ts'

export const MOST_VARIANTS = 64
/** Longer than a variant takes in all: waiting for a process, rendering, storing. */
const LEASE_MS = 120_000
const LONGEST_WAIT_MS = 15_000
const [FIRST_POLL_MS, LONGEST_POLL_MS] = [50, 500]
/** The same bytes fail in the same way, until the service is upgraded. */
const FINAL_MS = 86_400_000
/** After so many failures of processes, no process tries again for a minute. */
const MOST_ATTEMPTS = 3
const PAUSE_MS = 60_000

interface Log {
  warn(context: object, message: string): void
}

export interface MakeOptions {
  stores: Stores
  renderers: Renderers
  log: Log
  counts: { created: number }
}

/** A variant to make. */
interface Order {
  image: ServedRow
  spec: string
  request: RenderRequest
}

export type MakeVariant = (order: Order) => Promise<MadeVariant>

/**
 * Creates the function that makes a variant, once among all processes: the one with the lease makes it, the others wait.
 * Requests of this process for the same variant share one call.
 *
 * @throws {Busy | ImageGone | ImageNotShowable | ImageNotDecodable | VariantFailed} by the returned function
 */
export function createMake(options: MakeOptions): MakeVariant {
  const making = new Map<string, Promise<MadeVariant>>()
  return (order) => {
    const key = `${order.image.id} ${order.spec}`
    const known = making.get(key)
    if (known) return known
    const run = makeOrWait(options, order).finally(() => making.delete(key))
    making.set(key, run)
    return run
  }
}

async function makeOrWait(options: MakeOptions, order: Order): Promise<MadeVariant> {
  const { variants } = options.stores.data
  const { image, spec } = order
  const lease = randomUUID()
  const deadline = performance.now() + LONGEST_WAIT_MS
  for (let pause = FIRST_POLL_MS; ; pause = Math.min(pause * 1.5, LONGEST_POLL_MS)) {
    const claim = await variants.claim({ imageId: image.id, spec, lease, milliseconds: LEASE_MS })
    if (!claim) throw new ImageGone()
    if (claim.state === 'ready') return claim.row as MadeVariant
    if (claim.state === 'failed') throw problemOf(claim.row)
    if (claim.state === 'claimed') {
      const made = await makeOne(options, order, { lease, attempts: claim.attempts })
      if (made) return made
    }
    if (performance.now() > deadline) throw new Busy()
    await sleep(pause)
  }
}

function problemOf({ failure, failureKind }: Pick<VariantRow, 'failure' | 'failureKind'>) {
  const Kind = { unrenderable: ImageNotShowable, undecodable: ImageNotDecodable, failed: VariantFailed }
  return new Kind[failureKind ?? 'failed']({ detail: failure ?? '' })
}

interface Claimed {
  lease: string
  /** How many processes have failed on it. */
  attempts: number
}

/** Makes a variant. Resolves with undefined if the variants of the image were deleted meanwhile. */
async function makeOne(
  options: MakeOptions,
  order: Order,
  claimed: Claimed,
): Promise<MadeVariant | undefined> {
  const { stores } = options
  const { image, spec } = order
  try {
    const outcome = await options.renderers.run((decoder) =>
      readObject(
        stores.objects,
        image,
        (store) => withContent(store, image.id, (content) => render(decoder, content, order)),
        (id) => findAgain(stores, id),
      ),
    )
    if (outcome instanceof RenderFailure) return await refuse(options, order, claimed, outcome)
    if ('kind' in outcome)
      return await refuse(options, order, claimed, new RenderFailure(outcome.kind, sentence(outcome.reason)))
    return await store(options, order, claimed, outcome.bytes)
  } catch (error) {
    // A store or the machine has failed, or all processes are busy: that says nothing about the image.
    await stores.data.variants.giveBack(image.id, spec, claimed.lease).catch(() => {})
    if (!(error instanceof DecoderUnavailable)) throw error
    // Its message has what the process printed. Clients must not see that.
    options.log.warn({ err: error }, 'no process that makes variants can be started')
    throw new Busy({ detail: 'No process that makes variants can be started now. Try again later.' })
  }
}

function render(decoder: Pick<Decoder, 'render'>, content: FileContent, { image, request }: Order) {
  const format = formatOf(image.mediaType)!
  const milliseconds = timeLimitOf(format.format)
  return measure({ kind: 'variant', name: 'render' }, () =>
    decoder.render(format, content, { milliseconds, request }),
  ).catch(asFailure)
}

/** The row of an image whose object was not where its row said. @throws {ImageGone} */
async function findAgain({ data }: Stores, id: string): Promise<ServedRow> {
  const row = await data.images.findServed(id)
  if (!row || row.removedAt) throw new ImageGone()
  return row
}

/** The image has no variant, or the process that made it has ended. */
class RenderFailure {
  readonly kind: VariantFailure
  readonly reason: string

  constructor(kind: VariantFailure, reason: string) {
    this.kind = kind
    this.reason = reason
  }
}

function asFailure(error: Error): RenderFailure {
  if (error instanceof DecoderUnavailable) throw error
  return new RenderFailure('failed', `${sentence(error.message)} Try again later.`)
}

/** Records a failure. @throws the problem for the client */
async function refuse(
  { stores, log }: MakeOptions,
  { image, spec }: Order,
  { lease, attempts }: Claimed,
  { kind, reason }: RenderFailure,
): Promise<never> {
  const pause = attempts + 1 < MOST_ATTEMPTS ? 0 : PAUSE_MS
  const milliseconds = kind === 'failed' ? pause : FINAL_MS
  await stores.data.variants.fail(image.id, spec, lease, { failure: reason, kind, milliseconds })
  log.warn({ imageId: image.id, spec, kind, reason }, 'a variant cannot be made')
  throw problemOf({ failure: reason, failureKind: kind })
}

const sentence = (text: string) => `${text.charAt(0).toUpperCase()}${text.slice(1).replace(/\.$/, '')}.`

/** Stores a variant: the object first, then its row. Without a lease any more, nothing is stored. */
async function store(
  { stores: { data, objects }, counts }: MakeOptions,
  { image: { id, region }, spec, request }: Order,
  { lease }: Claimed,
  bytes: Buffer,
): Promise<MadeVariant | undefined> {
  const objectKey = newVariantKey(id)
  const hot = objects.at({ region, tier: 'hot' })
  const staged = await hot.stage(objectKey, Readable.from([bytes]))
  await staged.commit()
  const made = {
    objectKey,
    size: bytes.length,
    hash: createHash('sha256').update(bytes).digest('hex'),
    mediaType: mediaTypes[request.format],
  }
  const variants = await data.variants.settle(id, spec, lease, made)
  if (variants === 0) {
    await hot.delete(objectKey)
    return undefined
  }
  counts.created++
  if (variants > MOST_VARIANTS)
    for (const key of await data.variants.trim(id, MOST_VARIANTS)) await hot.delete(key)
  return { ...made, imageId: id, spec, createdAt: new Date(), attempts: 0, failure: null, failureKind: null }
}
