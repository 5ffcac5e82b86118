/** A range of the bytes of an object or an image. Both ends are included, as in RFC 9110 §14.1.2. */
export interface ByteRange {
  /** The first byte, counted from 0. */
  start: number
  /** The last byte. */
  end: number
}
