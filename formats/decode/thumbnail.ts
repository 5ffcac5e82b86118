import sharp, { type Sharp } from 'sharp'

/** RGBA, a byte each, colours not multiplied by alpha. */
export interface Pixels {
  width: number
  height: number
  data: Buffer
}

/** The longest side that ThumbHash accepts, in pixels. */
const SIDE = 100

/** Runs a pipeline that makes a picture small in one pass over it. */
export async function shrink(picture: Sharp, side = SIDE): Promise<Pixels> {
  return run(
    picture
      .resize(side, side, { fit: 'inside', withoutEnlargement: true })
      .toColourspace('srgb')
      .ensureAlpha(),
  )
}

/** For each orientation: mirrored left to right or not, then turned clockwise by degrees (CIPA DC-008, Orientation). */
export const TURNS: Record<number, [mirrored: boolean, degrees: number]> = {
  2: [true, 0],
  3: [false, 180],
  4: [true, 180],
  5: [true, 270],
  6: [false, 90],
  7: [true, 90],
  8: [false, 270],
}

/** Turns a small picture into its displayed orientation. A large one would need memory for the whole picture. */
export async function orient(pixels: Pixels, orientation = 1): Promise<Pixels> {
  const turn = TURNS[orientation]
  if (!turn) return pixels
  const { data, width, height } = pixels
  const [mirrored, degrees] = turn
  return run(
    sharp(data, { raw: { width, height, channels: 4 } })
      .flop(mirrored)
      .rotate(degrees),
  )
}

async function run(pipeline: Sharp): Promise<Pixels> {
  const { data, info } = await pipeline.raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true })
  return { data, width: info.width, height: info.height }
}
