import { crc32 } from 'node:zlib'
import { createExifReducer, MAX_EXIF_BYTES } from './allowed.ts'
import { CannotStrip, createPlan, type Plan, type PlanBuilder } from './plan.ts'
import { EndOfFile, type Reader } from './reader.ts'

const SIGNATURE = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1')

/**
 * The chunks that are kept, each with its maximum size: those without which the picture could not be shown, or would have
 * other colours, another size or no motion (W3C PNG, third edition, §11). Text (tEXt, zTXt, iTXt) and times are removed,
 * and also suggested palettes, histograms and private chunks: they can contain anything, and pictures look the same
 * without them.
 */
const kept = new Map([
  ['IHDR', 13],
  ['PLTE', 768],
  ['IDAT', Number.POSITIVE_INFINITY],
  ['IEND', 0],
  // Transparency and colour.
  ['tRNS', 256],
  ['cICP', 4],
  ['iCCP', Number.POSITIVE_INFINITY],
  ['sRGB', 1],
  ['gAMA', 4],
  ['cHRM', 32],
  ['sBIT', 4],
  ['mDCV', 24],
  ['cLLI', 8],
  ['bKGD', 6],
  // The shape of a pixel.
  ['pHYs', 9],
  // Motion (APNG).
  ['acTL', 8],
  ['fcTL', 26],
  ['fdAT', Number.POSITIVE_INFINITY],
])

/** Chunks of pixels, which are kept even if they are damaged. */
const isPixels = (type: string) => type === 'IDAT' || type === 'fdAT'

/**
 * Plans a PNG or APNG without metadata. Each chunk that is kept must have a correct CRC, so a damaged length cannot carry
 * metadata along. Damaged or cut pixels are kept if they contain no name of a chunk. Everything behind IEND is removed;
 * a missing IEND is added.
 */
export async function planPng(reader: Reader): Promise<Plan> {
  const plan = createPlan()
  if (!(await reader.take(SIGNATURE.length)).equals(SIGNATURE)) throw new CannotStrip('the image is no PNG')
  plan.copy(0, SIGNATURE.length)
  const state: State = { plan, hadPixels: false, reduceExif: createExifReducer(0) }
  try {
    while ((await planChunk(reader, state)) !== 'IEND');
  } catch (error) {
    if (!(error instanceof EndOfFile) || !state.hadPixels) throw error
    plan.add(makeChunk('IEND', Buffer.alloc(0)))
  }
  return plan
}

interface State {
  plan: PlanBuilder
  hadPixels: boolean
  reduceExif: (block: Buffer) => Promise<Buffer[]>
}

/** Plans the next chunk and returns its type. */
async function planChunk(reader: Reader, state: State): Promise<string> {
  const start = reader.position
  const header = await reader.takeHeader(8)
  const length = header.readUInt32BE()
  const type = header.toString('latin1', 4)
  if (!/^[A-Za-z]{4}$/.test(type)) throw new CannotStrip('the image has a chunk without a type')
  if (start === SIGNATURE.length && type !== 'IHDR')
    throw new CannotStrip('the image does not begin with IHDR')
  const max = kept.get(type)
  if (max !== undefined) {
    if (length > max) throw new CannotStrip(`chunk ${type} is too long`)
    if (isPixels(type)) await planPixels(reader, state, { start, type, length })
    else await planIntact(reader, state, { start, type, length })
  } else if (isCritical(type)) {
    throw new CannotStrip(`the image cannot be shown without ${type}, which is not known`)
  } else if (type === 'eXIf' && !state.hadPixels) {
    await planExif(reader, state, length)
  } else {
    await reader.skip(length + 4)
  }
  return type
}

interface Chunk {
  start: number
  type: string
  length: number
}

async function planIntact(reader: Reader, { plan }: State, { start, type, length }: Chunk) {
  const { crc } = await inspect(reader, type, length)
  if ((await reader.take(4)).readUInt32BE() !== crc) throw new CannotStrip(`chunk ${type} is damaged`)
  plan.copy(start, reader.position)
}

async function planPixels(reader: Reader, state: State, { start, type, length }: Chunk) {
  const { crc, hasNames, left } = await inspect(reader, type, length)
  const isCutOff = left > 0
  const isIntact = !isCutOff && (await reader.take(4)).readUInt32BE() === crc
  if (!isIntact && hasNames) throw new CannotStrip(`chunk ${type} is damaged`)
  state.plan.copy(start, reader.position)
  state.hadPixels ||= length > left
  if (isCutOff) throw new EndOfFile('the image is cut off')
}

/** Browsers use Exif only with a correct CRC, and only before the pixels. */
async function planExif(reader: Reader, { plan, reduceExif }: State, length: number) {
  if (length > MAX_EXIF_BYTES) throw new CannotStrip('the Exif is too long')
  const block = await reader.take(length)
  const isIntact = (await reader.take(4)).readUInt32BE() === crc32(block, crc32('eXIf'))
  if (!isIntact) return
  for (const reduced of await reduceExif(block)) plan.add(makeChunk('eXIf', reduced))
}

// The names of chunks that have metadata, or that follow the pixels. One expression takes at most 0.1 ms for 64 KiB. A search
// for each name takes ten times as long if the bytes contain many beginnings of names.
const NAMES = /eXIf|tEXt|zTXt|iTXt|tIME|iCCP|IEND|IDAT/

/** Reads up to `length` bytes: their CRC, whether they contain the name of a chunk, and the number of missing bytes. */
async function inspect(reader: Reader, type: string, length: number) {
  let crc = crc32(type)
  let hasNames = false
  let end = Buffer.alloc(0)
  let left = length
  try {
    while (left > 0) {
      const bytes = (await reader.peek()).subarray(0, left)
      crc = crc32(bytes, crc)
      if (isPixels(type)) {
        const joined = Buffer.concat([end, bytes.subarray(0, 3)])
        hasNames ||= NAMES.test(bytes.toString('latin1')) || NAMES.test(joined.toString('latin1'))
        end = Buffer.concat([end, bytes.subarray(-3)]).subarray(-3)
      }
      left -= bytes.length
      reader.advance(bytes.length)
    }
  } catch (error) {
    if (!(error instanceof EndOfFile) || !isPixels(type)) throw error
  }
  return { crc, hasNames, left }
}

function makeChunk(type: string, contents: Buffer) {
  const chunk = Buffer.concat([Buffer.alloc(4), Buffer.from(type, 'latin1'), contents, Buffer.alloc(4)])
  chunk.writeUInt32BE(contents.length)
  chunk.writeUInt32BE(crc32(chunk.subarray(4, -4)), chunk.length - 4)
  return chunk
}

/** An upper-case first letter: a decoder that does not know the chunk cannot show the picture (W3C PNG §5.4). */
const isCritical = (type: string) => type[0]! < 'a'
