import { pipeline, Readable, Transform } from 'node:stream'
import type { ByteRange } from '../../schemas/byte-range.ts'
import { planJpeg } from './jpeg.ts'
import { CannotStrip, type Piece, type Plan, slicePieces } from './plan.ts'
import { planPng } from './png.ts'
import { createReader, type Reader } from './reader.ts'
import { planWebp } from './webp.ts'

const planners = new Map<string, (reader: Reader) => Promise<Plan>>([
  ['image/jpeg', planJpeg],
  ['image/png', planPng],
  ['image/apng', planPng],
  ['image/webp', planWebp],
])

/** The media types from whose pictures metadata can be removed without encoding them again. */
export const strippable: ReadonlySet<string> = new Set(planners.keys())

/** Opens the original for reading, all of it or a range. */
export type Open = (range?: ByteRange) => Promise<Readable>

/**
 * Plans a copy of a picture without its metadata: without Exif, XMP, IPTC, comments, thumbnails, gain maps and everything
 * else that is not needed to show it, but with its orientation and colour profile. No coded pixel is changed. The parts
 * that are kept are listed, all others are removed.
 *
 * It is a plan and not a filter, because a response needs its length before its first byte, and because a range must not
 * require everything before it. The planner reads the original once, from the front to the end of the picture, and holds
 * one chunk and the plan. The plan for the same bytes is always the same. The copy needs another ETag than the original.
 *
 * @throws {CannotStrip} the format is not supported, or the file is damaged so that metadata cannot be distinguished from
 * the picture
 */
export async function planWithoutMetadata(mediaType: string, open: Open): Promise<Plan> {
  const planner = planners.get(mediaType)
  if (!planner)
    throw new CannotStrip(`metadata cannot be removed from ${mediaType} without encoding it again`)
  const source = await open()
  try {
    return await planner(createReader(source))
  } finally {
    source.destroy()
  }
}

/**
 * Opens the copy, or a range of it, for reading. The original is opened once and read in order, and bytes that are not
 * part of the copy are skipped. Resolves when `open` has.
 */
export async function readPlan({ pieces }: Plan, open: Open, range?: ByteRange): Promise<Readable> {
  const wanted = range ? slicePieces(pieces, range) : pieces
  const ranges = wanted.filter((piece): piece is ByteRange => !Buffer.isBuffer(piece))
  const [first] = ranges
  if (!first) return Readable.from(wanted, { objectMode: false })
  const source = await open({ start: first.start, end: ranges.at(-1)!.end })
  // The reader of the result gets the error of the source too.
  return pipeline(source, assemble(wanted, first.start), () => {})
}

/** Makes the pieces from the original's bytes, which begin at `offset`. */
function assemble(pieces: Piece[], offset: number) {
  let position = offset
  let next = 0
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const end = position + chunk.length
      for (let piece = pieces[next]; piece; piece = pieces[++next]) {
        if (Buffer.isBuffer(piece)) {
          this.push(piece)
          continue
        }
        if (piece.start >= end) break
        this.push(chunk.subarray(Math.max(piece.start - position, 0), piece.end + 1 - position))
        if (piece.end >= end) break
      }
      position = end
      done()
    },
    flush(done) {
      for (let piece = pieces[next]; piece; piece = pieces[++next]) {
        if (!Buffer.isBuffer(piece)) return done(new Error('the original is shorter than its plan'))
        this.push(piece)
      }
      done()
    },
  })
}
