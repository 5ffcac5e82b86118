// The white of D50, and linear sRGB from XYZ that is adapted to D50 (ICC.1:2010 §7; Bradford, sRGB of IEC 61966-2-1).
const [WHITE_X, WHITE_Z] = [0.9642, 0.8249]
const FROM_XYZ = [
  [3.1338561, -1.6168667, -0.4906146],
  [-0.9787684, 1.9161415, 0.033454],
  [0.0719453, -0.2289914, 1.4052427],
] as const
const STEPS = 4096

/** The samples of sRGB by linear light from 0 to 1. */
const gamma = () =>
  Uint8Array.from({ length: STEPS + 1 }, (_, n) => {
    const light = n / STEPS
    return Math.round(255 * (light <= 0.0031308 ? 12.92 * light : 1.055 * light ** (1 / 2.4) - 0.055))
  })

/** The inverse of CIE's f (CIE 15). */
const light = (f: number) => (f > 6 / 29 ? f * f * f : (3 * 36 * (f - 4 / 29)) / 841)

/**
 * Converts CIE L*a*b* of D50 to sRGB. Colours outside sRGB are clipped.
 *
 * @param planes L* from 0 to 255 for 100, a* and b* with 128 for 0
 * @returns three bytes for each pixel
 */
export function labToRgb([lightness, a, b]: readonly Uint8Array[]): Uint8Array {
  if (!lightness || !a || !b) throw new Error('Lab has three planes')
  const samples = gamma()
  const sampleOf = (linear: number) =>
    samples[linear <= 0 ? 0 : linear >= 1 ? STEPS : (linear * STEPS + 0.5) | 0]!
  const data = new Uint8Array(lightness.length * 3)
  const [red, green, blue] = FROM_XYZ
  for (let n = 0, at = 0; n < lightness.length; n++, at += 3) {
    const fy = ((lightness[n]! / 255) * 100 + 16) / 116
    const x = WHITE_X * light(fy + (a[n]! - 128) / 500)
    const y = light(fy)
    const z = WHITE_Z * light(fy - (b[n]! - 128) / 200)
    data[at] = sampleOf(red[0] * x + red[1] * y + red[2] * z)
    data[at + 1] = sampleOf(green[0] * x + green[1] * y + green[2] * z)
    data[at + 2] = sampleOf(blue[0] * x + blue[1] * y + blue[2] * z)
  }
  return data
}
