import { MAX_BLOCK_BYTES } from '../headers/header.ts'
import { PROFILE_FRONT_BYTES, profileSize } from './allowed.ts'
import { CannotStrip, createPlan, type Plan, type PlanBuilder } from './plan.ts'
import { EndOfFile, type Reader } from './reader.ts'

// Flags of VP8X (RFC 9649 §2.7).
const ICC_FLAG = 0x20
const ALPHA_FLAG = 0x10
const EXIF_FLAG = 0x08
const XMP_FLAG = 0x04
const ANIMATION_FLAG = 0x02

const HEADER_BYTES = 8
const VP8X_BYTES = 10
const FRAME_HEADER_BYTES = 16

interface Chunk {
  fourCC: string
  start: number
  /** Bytes of its contents. */
  size: number
  /** After its contents and their padding. */
  end: number
}

/**
 * Plans a WebP (RFC 9649) without metadata. It keeps the picture or its frames, their alpha and the colour profile. Other
 * chunks are removed, also within frames, and everything behind the end of the RIFF. Exif is removed completely: browsers
 * do not turn a WebP by it. If the file ends within its only picture, so does the copy.
 */
export async function planWebp(reader: Reader): Promise<Plan> {
  const plan = createPlan()
  const riff = await reader.take(12)
  if (riff.toString('latin1', 0, 4) !== 'RIFF' || riff.toString('latin1', 8) !== 'WEBP')
    throw new CannotStrip('the image is no WebP')
  plan.add(riff)

  const end = HEADER_BYTES + riff.readUInt32LE(4)
  const chunks = chunksOf(reader, end)
  const { value: first } = await chunks.next()
  if (first?.fourCC === 'VP8X') {
    const missing = await planExtended(reader, plan, chunks)
    riff.writeUInt32LE(plan.size - HEADER_BYTES, 4)
    if (missing > 0) plan.cut(missing)
    return plan
  } else if (first && isBitstream(first)) {
    // A simple file is one bitstream. Decoders ignore chunks after it.
    plan.copy(first.start, first.end)
    riff.writeUInt32LE(plan.size - HEADER_BYTES, 4)
    try {
      for await (const _ of chunks);
    } catch (error) {
      // The lengths in the copy stay those of the whole picture, as decoders expect it.
      if (!(error instanceof EndOfFile)) throw error
      if (reader.position < first.end) plan.cut(first.end - reader.position)
    }
    return plan
  } else {
    throw new CannotStrip('the image does not begin with a picture')
  }
}

/** @returns the number of bytes of the picture that are missing at the end of the file */
async function planExtended(reader: Reader, plan: PlanBuilder, chunks: AsyncIterable<Chunk>) {
  const contents = await reader.take(VP8X_BYTES)
  const had = contents[0]!
  const vp8x = makeChunk('VP8X', contents)
  plan.add(vp8x)

  let has = had & (ALPHA_FLAG | ANIMATION_FLAG)
  const isAnimated = (had & ANIMATION_FLAG) !== 0
  const seen = new Set<string>()
  let missing = 0
  const untilEnd = async function* () {
    let last: Chunk | undefined
    try {
      for await (const chunk of chunks) {
        last = chunk
        yield chunk
      }
    } catch (error) {
      // Metadata would follow the picture.
      if (!(error instanceof EndOfFile && last && isBitstream(last)) || isAnimated) throw error
      missing = last.end - reader.position
    }
  }
  for await (const chunk of untilEnd()) {
    const { fourCC, start, size, end } = chunk
    const kind = isBitstream(chunk) ? 'picture' : fourCC
    const again = seen.has(kind)
    seen.add(kind)
    if (kind === 'ANMF' && isAnimated) {
      await planFrame(reader, plan, chunk)
    } else if (isAnimated ? kind === 'ANIM' : kind === 'picture' || kind === 'ALPH') {
      if (again) throw new CannotStrip(`the image has ${fourCC} twice`)
      plan.copy(start, end)
    } else if (fourCC === 'ICCP' && had & ICC_FLAG && !again) {
      const profile = await takeProfile(reader, size)
      if (!profile) continue
      has |= ICC_FLAG
      if (profile.length === size) plan.copy(start, end)
      else plan.add(makeChunk('ICCP', profile))
    }
  }

  if (!seen.has(isAnimated ? 'ANMF' : 'picture')) throw new CannotStrip('the image has no picture')
  // A damaged length can have made missing metadata a part of another chunk.
  if ((had & EXIF_FLAG && !seen.has('EXIF')) || (had & XMP_FLAG && !seen.has('XMP ')))
    throw new CannotStrip('the image lacks the metadata that it announces')
  vp8x[HEADER_BYTES] = has
  return missing
}

/** A colour profile without bytes behind its end; undefined if it is damaged: browsers ignore it. */
async function takeProfile(reader: Reader, size: number) {
  if (size > MAX_BLOCK_BYTES) return undefined
  const profile = await reader.take(size)
  const declared = profileSize(profile.subarray(0, PROFILE_FRONT_BYTES))
  return declared === undefined || declared > size ? undefined : profile.subarray(0, declared)
}

/** Plans a frame unchanged, or rebuilds it if it has unknown chunks. */
async function planFrame(reader: Reader, plan: PlanBuilder, { start, size, end }: Chunk) {
  if (size < FRAME_HEADER_BYTES) throw new CannotStrip('a frame is cut off')
  const frame = makeChunk('ANMF', await reader.take(FRAME_HEADER_BYTES))
  const contents = createPlan()
  const seen = new Set<string>()
  for await (const chunk of chunksOf(reader, end)) {
    if (!isBitstream(chunk) && chunk.fourCC !== 'ALPH') continue
    const kind = isBitstream(chunk) ? 'picture' : 'alpha'
    if (seen.has(kind)) throw new CannotStrip('a frame has two pictures')
    seen.add(kind)
    contents.copy(chunk.start, chunk.end)
  }
  if (!seen.has('picture')) throw new CannotStrip('a frame has no picture')

  const kept = FRAME_HEADER_BYTES + contents.size
  if (kept === size) return plan.copy(start, end)
  frame.writeUInt32LE(kept, 4)
  plan.add(frame)
  for (const piece of contents.pieces) {
    if (Buffer.isBuffer(piece)) plan.add(piece)
    else plan.copy(piece.start, piece.end + 1)
  }
}

/** The chunks up to `end` (RFC 9649 §2.3). Bytes of a chunk that the caller does not read are skipped. */
async function* chunksOf(reader: Reader, end: number): AsyncGenerator<Chunk, undefined> {
  while (reader.position < end) {
    const start = reader.position
    const header = await reader.takeHeader(HEADER_BYTES)
    // A Sony camera ends the name of its XMP with a NUL.
    const fourCC = header.toString('latin1', 0, 4).replace(/\0$/, ' ')
    const size = header.readUInt32LE(4)
    const chunk = { fourCC, start, size, end: start + HEADER_BYTES + size + (size % 2) }
    if (!/^[\x20-\x7e]{4}$/.test(fourCC)) throw new CannotStrip('the image has a chunk without a name')
    if (chunk.end > end) throw new CannotStrip('a chunk is longer than its container')
    yield chunk
    await reader.skip(chunk.end - reader.position)
  }
}

const isBitstream = ({ fourCC }: Chunk) => fourCC === 'VP8 ' || fourCC === 'VP8L'

/** Makes a chunk, padded to an even size. */
function makeChunk(fourCC: string, contents: Buffer) {
  const padding = Buffer.alloc(contents.length % 2)
  const chunk = Buffer.concat([Buffer.from(fourCC, 'latin1'), Buffer.alloc(4), contents, padding])
  chunk.writeUInt32LE(contents.length, 4)
  return chunk
}
