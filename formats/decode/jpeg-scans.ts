import { EOI, isRestart, SOI, SOS } from '../headers/jpeg-segments.ts'

const END = Buffer.of(0xff, EOI)

/**
 * The beginnings of a JPEG that end with a whole scan, completed by the marker of the end: the longest first, and at most
 * four, because the caller decodes one after the other. libjpeg makes no picture if a segment between two scans is cut off
 * or damaged. Browsers then show the scans before it.
 */
export function wholeScans(file: Buffer): Buffer[] {
  const ends = endsOfScans(file)
  const chosen = new Set([ends.length - 1, ends.length - 2, Math.floor(ends.length / 2), 0])
  return [...chosen]
    .filter((index) => ends[index] !== undefined)
    .map((index) => Buffer.concat([file.subarray(0, ends[index]), END]))
}

/** The offsets in bytes at which the scans end. */
function endsOfScans(file: Buffer): number[] {
  const ends: number[] = []
  let at = 2
  while (at >= 0 && at + 4 <= file.length) {
    const marker = file[at + 1]!
    if (file[at] !== 0xff) at = file.indexOf(0xff, at)
    else if (marker === EOI) break
    else if (marker === 0xff) at += 1
    else if (marker === 0 || marker === SOI || isRestart(marker)) at += 2
    else {
      at += 2 + file.readUInt16BE(at + 2)
      if (marker !== SOS) continue
      at = endOfScan(file, at)
      ends.push(at)
    }
  }
  return ends
}

/** The first marker after the data of a scan (T.81 §B.1.1.2), or the end of the file. */
function endOfScan(file: Buffer, start: number): number {
  for (let at = file.indexOf(0xff, start); at >= 0 && at + 1 < file.length; at = file.indexOf(0xff, at + 1)) {
    const next = file[at + 1]!
    if (next !== 0 && next !== 0xff && !isRestart(next)) return at
  }
  return file.length
}
