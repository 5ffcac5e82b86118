/**
 * Samples of 1 to 16 bits as bytes. Samples above 8 bits take two bytes, little endian.
 *
 * @param count of the samples
 */
export function toBytes(samples: Uint8Array, bits: number, count: number): Uint8Array {
  if (bits === 8) return Uint8Array.from(samples.subarray(0, count))
  const bytes = new Uint8Array(count)
  if (bits < 8) {
    const scale = 255 / (2 ** bits - 1)
    for (let n = 0; n < count; n++) bytes[n] = Math.round(samples[n]! * scale)
    return bytes
  }
  const shift = bits - 8
  for (let n = 0; n < count; n++) bytes[n] = (samples[2 * n]! | (samples[2 * n + 1]! << 8)) >> shift
  return bytes
}
