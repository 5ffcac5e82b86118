import { part } from './bytes.ts'
import type { HeaderReader } from './header.ts'
import { readBoxes } from './isobmff.ts'
import { readJpegFront } from './jpeg.ts'
import { openTiff } from './tiff.ts'

const CANON = 'uuid:85c0b687820f11e08111f4ce462b6a48'

/** Canon's CR3: boxes, with a box for each directory of Exif. */
export const readCr3: HeaderReader = async ({ bytes }) => {
  const boxes = readBoxes(bytes)
  const canon = await boxes.find(undefined, 'moov', CANON)
  const directory = async (type: string) => {
    const box = canon && (await boxes.find(canon, type))
    const tiff = box && (await openTiff(part(bytes, box.start, box.end)))
    return tiff?.directory(tiff.first)
  }
  const main = await directory('CMT1')
  if (!main) return undefined
  const [width] = await main.numbers(256)
  const [height] = await main.numbers(257)
  return {
    width,
    height,
    exif: { main, exif: await directory('CMT2'), gps: await directory('CMT4') },
  }
}

const FULL_SIZE = 0x100
const CROPPED_SIZE = 0x111

/** Fujifilm's RAF: a JPEG with the tags, and a directory with the size of the raw picture. */
export const readRaf: HeaderReader = async ({ bytes }) => {
  const head = await bytes.read(84, 16)
  if (head.length < 16) return undefined
  const preview = part(bytes, head.readUInt32BE(0), head.readUInt32BE(0) + head.readUInt32BE(4))
  const jpeg = await readJpegFront(preview)

  const directory = await part(bytes, head.readUInt32BE(8)).read(0, head.readUInt32BE(12))
  const sizes = new Map<number, { width: number; height: number }>()
  const count = directory.length < 4 ? 0 : directory.readUInt32BE(0)
  for (
    let at = 4, i = 0;
    i < count && at + 8 <= directory.length;
    i++, at += 4 + directory.readUInt16BE(at + 2)
  )
    sizes.set(directory.readUInt16BE(at), {
      height: directory.readUInt16BE(at + 4),
      width: directory.readUInt16BE(at + 6),
    })
  const size = sizes.get(CROPPED_SIZE) ?? sizes.get(FULL_SIZE) ?? jpeg
  if (!size) return undefined
  return { width: size.width, height: size.height, exif: jpeg?.exif, xmp: jpeg?.xmp }
}
