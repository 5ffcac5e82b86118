import type { ByteRange } from '../../schemas/byte-range.ts'

/** Metadata cannot be distinguished from the picture with certainty, so there is no copy. The message gives the reason. */
export class CannotStrip extends Error {
  override name = 'CannotStrip'
}

/** A part of the copy: a range of the original's bytes, or other bytes. */
export type Piece = ByteRange | Buffer

/** The copy: its pieces in order. Their ranges follow one another in the original. */
export interface Plan {
  pieces: Piece[]
  /** The bytes of the copy. */
  size: number
}

// A film of 5,000 frames that are all rebuilt has 10,000. With this limit a plan takes at most 2 MiB.
const MAX_PIECES = 16_384
// Profiles, Exif with the orientation only, and headers.
const MAX_ADDED_BYTES = 2 ** 23

/** Builds a plan, from the front of the file to its end. */
export interface PlanBuilder extends Plan {
  /** Keeps the original's bytes from `start` to `end`, without `end`. */
  copy(start: number, end: number): void

  /** Adds bytes. They may be changed, but not lengthened, until the plan is complete. */
  add(bytes: Buffer): void

  /** Shortens the last piece, which is a range of the original. */
  cut(bytes: number): void

  /** Keeps bytes of the original, or adds bytes, until `dropRemovable` is called. */
  addRemovable(piece: Piece): void

  /** Removes all pieces of `addRemovable` again. */
  dropRemovable(): void
}

/** Begins a plan. Its methods throw CannotStrip if there are too many pieces or bytes. */
export function createPlan(): PlanBuilder {
  const pieces: Piece[] = []
  // No other bytes are added to these.
  const removable = new Set<Piece>()
  let added = 0
  const push = (piece: Piece) => {
    if (Buffer.isBuffer(piece)) added += piece.length
    if (added > MAX_ADDED_BYTES) throw new CannotStrip('its profile and headers are too large')
    if (pieces.push(piece) > MAX_PIECES) throw new CannotStrip('it is in too many pieces')
  }
  const plan: PlanBuilder = {
    pieces,
    size: 0,
    copy(start, end) {
      const last = pieces.at(-1)
      if (last && !removable.has(last) && !Buffer.isBuffer(last) && last.end + 1 === start) last.end = end - 1
      else push({ start, end: end - 1 })
      plan.size += end - start
    },
    add(bytes) {
      push(bytes)
      plan.size += bytes.length
    },
    cut(bytes) {
      const last = pieces.at(-1) as ByteRange
      last.end -= bytes
      plan.size -= bytes
    },
    addRemovable(piece) {
      push(piece)
      removable.add(piece)
      plan.size += sizeOf(piece)
    },
    dropRemovable() {
      // All at once: there can be thousands.
      const kept = pieces.filter((piece) => !removable.has(piece))
      for (const piece of removable) plan.size -= sizeOf(piece)
      removable.clear()
      pieces.splice(0, pieces.length, ...kept)
    },
  }
  return plan
}

const sizeOf = (piece: Piece) => (Buffer.isBuffer(piece) ? piece.length : piece.end + 1 - piece.start)

/** The pieces of a range of the copy. */
export function slicePieces(pieces: Piece[], { start, end }: ByteRange): Piece[] {
  const slice: Piece[] = []
  let offset = 0
  for (const piece of pieces) {
    const size = sizeOf(piece)
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
