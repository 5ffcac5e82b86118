/** Pixels without a file format: 8 bits per sample, row by row. */
export interface RawPixels {
  data: Uint8Array
  width: number
  height: number
  channels: 1 | 2 | 3 | 4
  /** The colour profile, which must have the colour channels of the pixels. */
  icc?: Buffer | undefined
  /** CMYK of four channels, or grey or RGB. */
  isCmyk?: boolean
}

const SHORT = 3
const LONG = 4
const UNDEFINED = 7

/** Makes an uncompressed TIFF (TIFF 6.0) of pixels, because sharp takes a colour profile only from a file. */
export function toTiff({ data, width, height, channels, icc, isCmyk = false }: RawPixels): Buffer {
  const colours = isCmyk ? 4 : channels < 3 ? 1 : 3
  const entries: [tag: number, type: number, values: number[] | Buffer][] = [
    [256, LONG, [width]],
    [257, LONG, [height]],
    [258, SHORT, Array(channels).fill(8)],
    [259, SHORT, [1]],
    [262, SHORT, [isCmyk ? 5 : colours === 1 ? 1 : 2]],
    [273, LONG, [0]],
    [277, SHORT, [channels]],
    [278, LONG, [height]],
    [279, LONG, [data.length]],
    ...(channels > colours ? [[338, SHORT, [2]] as [number, number, number[]]] : []),
    ...(icc ? [[34675, UNDEFINED, icc] as [number, number, Buffer]] : []),
  ]
  const directoryBytes = 2 + entries.length * 12 + 4
  const head = Buffer.alloc(8 + directoryBytes)
  head.write('II*\0', 'latin1')
  head.writeUInt32LE(8, 4)
  head.writeUInt16LE(entries.length, 8)
  const blocks: Buffer[] = []
  let at = head.length
  let stripEntry = 0
  for (const [n, [tag, type, values]] of entries.entries()) {
    const entry = 10 + n * 12
    const block = encode(type, values)
    head.writeUInt16LE(tag, entry)
    head.writeUInt16LE(type, entry + 2)
    head.writeUInt32LE(values.length, entry + 4)
    if (tag === 273) stripEntry = entry
    if (block.length <= 4) {
      block.copy(head, entry + 8)
      continue
    }
    head.writeUInt32LE(at, entry + 8)
    const padded = Buffer.concat([block, Buffer.alloc(block.length & 1)])
    blocks.push(padded)
    at += padded.length
  }
  head.writeUInt32LE(at, stripEntry + 8)
  return Buffer.concat([head, ...blocks, data])
}

function encode(type: number, values: number[] | Buffer) {
  if (Buffer.isBuffer(values)) return values
  const size = type === SHORT ? 2 : 4
  const block = Buffer.alloc(values.length * size)
  for (const [n, value] of values.entries()) block.writeUIntLE(value, n * size, size)
  return block
}
