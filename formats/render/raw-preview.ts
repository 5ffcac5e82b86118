import { isFrame } from '../headers/jpeg-segments.ts'
import { Unrenderable } from './unrenderable.ts'

const START = Buffer.of(0xff, 0xd8, 0xff)
const MAX_CANDIDATES = 10_000
const MAX_SEGMENTS = 200
const LEAST_SIDE = 120
// Baseline, extended and progressive. The others are lossless, which is the raw picture itself.
const LAST_LOSSY_FRAME = 0xc2

/**
 * Finds the largest JPEG in a file of a camera's raw format: the preview that the camera has made.
 *
 * @returns the bytes from its start; what follows its end is not part of it
 * @throws {Unrenderable} there is none
 */
export function findPreview(file: Buffer): Buffer {
  let best: { at: number; pixels: number } | undefined
  let candidates = 0
  for (
    let at = file.indexOf(START);
    at >= 0 && candidates < MAX_CANDIDATES;
    at = file.indexOf(START, at + 2)
  ) {
    candidates++
    const size = sizeAt(file, at)
    if (!size || Math.min(size.width, size.height) < LEAST_SIDE) continue
    const pixels = size.width * size.height
    if (pixels > (best?.pixels ?? 0)) best = { at, pixels }
  }
  if (!best) throw new Unrenderable('The raw file has no preview, and there is no decoder for raw pictures.')
  return file.subarray(best.at)
}

/** The size in the frame header of a JPEG; undefined if it is none, or lossless. */
function sizeAt(file: Buffer, start: number) {
  let at = start + 2
  for (let n = 0; n < MAX_SEGMENTS && at + 9 <= file.length && file[at] === 0xff; n++) {
    const marker = file[at + 1]!
    if (isFrame(marker)) {
      const size = { height: file.readUInt16BE(at + 5), width: file.readUInt16BE(at + 7) }
      return marker <= LAST_LOSSY_FRAME ? size : undefined
    }
    if (marker === 0xff) at++
    else at += 2 + file.readUInt16BE(at + 2)
  }
  return undefined
}
