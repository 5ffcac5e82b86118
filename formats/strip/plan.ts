import type { ByteRange } from '../../schemas/byte-range.ts'

/** The picture can't be told from its metadata with certainty, so none of it is handed on. The message says why. */
export class CannotStrip extends Error {
  override name = 'CannotStrip'
}

/** A part of the stripped picture: a range of the original's bytes, or bytes that take the place of others. */
export type Piece = ByteRange | Buffer

/** The stripped picture: its pieces in order, whose ranges follow one another in the original. */
export interface Plan {
  pieces: Piece[]
  /** Bytes of the stripped picture. */
  size: number
}

// A film of 5,000 frames, each rebuilt, has 10,000. It bounds what a plan takes to 2 MiB, whatever the file.
const MOST_PIECES = 16_384

/** What the planner of a format writes down, from the front of the file to its end. */
export interface PlanBuilder extends Plan {
  /** Keeps the original's bytes from `start` up to, and without, `end`. */
  copy(start: number, end: number): void

  /** Puts bytes in. They may still be changed, not lengthened, until the plan is done. */
  add(bytes: Buffer): void
}

/** Begins a plan. `keep` and `add` throw CannotStrip where the pieces become too many. */
export function createPlan(): PlanBuilder {
  const pieces: Piece[] = []
  const push = (piece: Piece) => {
    if (pieces.push(piece) > MOST_PIECES) throw new CannotStrip('it is in too many pieces')
  }
  const plan: PlanBuilder = {
    pieces,
    size: 0,
    copy(start, end) {
      const last = pieces.at(-1)
      if (last && !Buffer.isBuffer(last) && last.end + 1 === start) last.end = end - 1
      else push({ start, end: end - 1 })
      plan.size += end - start
    },
    add(bytes) {
      push(bytes)
      plan.size += bytes.length
    },
  }
  return plan
}

/** The pieces of a range of the stripped picture. */
export function slicePieces(pieces: Piece[], { start, end }: ByteRange): Piece[] {
  const slice: Piece[] = []
  let offset = 0
  for (const piece of pieces) {
    const size = Buffer.isBuffer(piece) ? piece.length : piece.end + 1 - piece.start
    const from = Math.max(start - offset, 0)
    const to = Math.min(end + 1 - offset, size)
    if (from < to) {
      slice.push(
        Buffer.isBuffer(piece)
          ? piece.subarray(from, to)
          : { start: piece.start + from, end: piece.start + to - 1 },
      )
    }
    offset += size
  }
  return slice
}
