import { availableParallelism, totalmem } from 'node:os'

const GiB = 2 ** 30
const MAX_DECODER_BYTES = GiB
/** A decoder with less memory could not decode photographs of 50 megapixels. */
const MIN_DECODER_BYTES = GiB / 2
/** The memory of the worker process itself. */
const WORKER_BYTES = GiB / 4

/**
 * The number of decoders of a worker, and the memory of each in bytes. Together they fit in the memory of the
 * container, or of the machine.
 */
export function decoderLimits(
  memory = Math.min(process.constrainedMemory() || totalmem(), totalmem()),
  cores = availableParallelism(),
): { concurrency: number; memory: number } {
  const available = memory - WORKER_BYTES
  const concurrency = Math.max(1, Math.min(cores, Math.floor(available / MIN_DECODER_BYTES)))
  const each = Math.min(MAX_DECODER_BYTES, Math.floor(available / concurrency))
  return { concurrency, memory: Math.max(each, GiB / 8) }
}

const SECOND = 1_000
const DEFAULT_MILLISECONDS = 30 * SECOND
const MILLISECONDS: Record<string, number> = {
  // A drawing takes milliseconds. A program of filters can take hours.
  SVG: 10 * SECOND,
  // They use video codecs, or have several pages of any size.
  AVIF: 60 * SECOND,
  HEIC: 60 * SECOND,
  HEIF: 60 * SECOND,
  TIFF: 60 * SECOND,
}

/** The longest time in milliseconds that an image of a format may take to decode. */
export const timeLimitOf = (format: string): number => MILLISECONDS[format] ?? DEFAULT_MILLISECONDS
