// The markers' names are those of ITU-T T.81, table B.1.
export const SOF0 = 0xc0
export const SOF2 = 0xc2
export const DHT = 0xc4
const DAC = 0xcc
export const SOI = 0xd8
export const EOI = 0xd9
export const SOS = 0xda
export const DQT = 0xdb
export const DNL = 0xdc
export const DRI = 0xdd
export const APP0 = 0xe0
export const APP1 = 0xe1
export const APP2 = 0xe2
export const APP14 = 0xee
export const APP15 = 0xef
export const COM = 0xfe

// SOF0 to SOF3 and SOF9 to SOF11. The others belong to the hierarchical mode, which no decoder in use supports.
const frameMarkers = [SOF0, 0xc1, SOF2, 0xc3, 0xc9, 0xca, 0xcb]

export const isFrame = (marker: number) => frameMarkers.includes(marker)
export const isRestart = (marker: number) => marker >= 0xd0 && marker <= 0xd7
export const startsWith = (segment: Buffer, name: Buffer) =>
  name.compare(segment, 0, Math.min(name.length, segment.length)) === 0

/**
 * The segments from which a picture is decoded, each with a check of its contents (without the length): they have the
 * size that they need (T.81 §B.2), and define no table that libjpeg does not support.
 */
export const parts = new Map<number, (segment: Buffer) => boolean>([
  ...frameMarkers.map(
    (marker) => [marker, (segment: Buffer) => segment.length === 6 + 3 * segment[5]!] as const,
  ),
  [DHT, areHuffmanTables],
  [DAC, ({ length }) => length % 2 === 0 && length <= 2 * 32], // conditioning of arithmetic coding
  [SOS, (segment) => segment.length === 4 + 2 * segment[0]!],
  [DQT, areQuantizationTables],
  [DNL, ({ length }) => length === 2],
  [DRI, ({ length }) => length === 2],
])

function areHuffmanTables(segment: Buffer) {
  let at = 0
  while (at < segment.length) {
    let codes = 0
    for (let n = at + 1; n <= at + 16; n++) codes += segment[n] ?? 0
    if ((segment[at]! & 0xef) > 3 || codes > 256) return false
    at += 17 + codes
  }
  return at === segment.length
}

function areQuantizationTables(segment: Buffer) {
  let at = 0
  while (at < segment.length) {
    if ((segment[at]! & 0x0f) > 3) return false
    at += segment[at]! >> 4 === 0 ? 65 : 129
  }
  return at === segment.length
}
