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

/** The media types whose pictures can be rid of their metadata without being encoded anew. */
export const strippable: ReadonlySet<string> = new Set(planners.keys())

/** Opens the original for reading, all of it or a range. */
export type Open = (range?: ByteRange) => Promise<Readable>

/**
 * Plans how to hand a picture on without its metadata: without Exif, XMP, IPTC, comments, thumbnails and whatever else
 * is not needed to show it, but with its orientation and colour profile. No coded pixel is touched. What is kept is
 * listed, and what is not on the list goes.
 *
 * It is a plan and not a stream that filters, because an answer needs its length before its first byte, as does WebP
 * in its own header, and so that a range can be answered without making all that comes before it. The planner reads
 * the original once, in order, up to the picture's end, since only the scans of a JPEG tell where it ends; it holds
 * one chunk and the plan. A plan is the same for the same bytes and can be cached with them; another ETag than the
 * original's is due.
 *
 * @throws {CannotStrip} the format is not one of `strippable`, or the file is cut off, damaged or not what it seems, so
 * that metadata could not be told from the rest
 */
export async function planWithoutMetadata(mediaType: string, open: Open): Promise<Plan> {
  const planner = planners.get(mediaType)
  if (!planner) throw new CannotStrip(`${mediaType} has to be encoded anew`)
  const source = await open()
  try {
    return await planner(createReader(source))
  } finally {
    source.destroy()
  }
}

/**
 * Opens the stripped picture, or a range within it, for reading. The original is opened once and read in order; what
 * is dropped in between is read over. Resolves when `open` has.
 */
export async function readPlan({ pieces }: Plan, open: Open, range?: ByteRange): Promise<Readable> {
  const wanted = range ? slicePieces(pieces, range) : pieces
  const ranges = wanted.filter((piece): piece is ByteRange => !Buffer.isBuffer(piece))
  const [first] = ranges
  if (!first) return Readable.from(wanted, { objectMode: false })
  const source = await open({ start: first.start, end: ranges.at(-1)!.end })
  // Whoever reads the result sees its error, which is the source's too.
  return pipeline(source, assemble(wanted, first.start), () => {})
}

/** Makes the pieces from the original's bytes, which come in from `offset` on. */
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
