import type { Bytes } from './bytes.ts'
import { type HeaderReader, MAX_BLOCK_BYTES } from './header.ts'
import { readBySharp } from './sharp.ts'

const EXTENSION = 0x21
const APPLICATION = 0xff
const XMP = Buffer.from('\x0bXMP DataXMP', 'latin1')
/** The bytes after the packet begin so: to a reader of GIF, they lead from any byte of it to the end of the block. */
const END_OF_XMP = Buffer.of(0x01, 0xff, 0xfe, 0xfd)
/** Extensions and sub-blocks before the first frame. */
const MAX_BLOCKS = 1_000

/** GIF (GIF89a), with the XMP that is in an extension before its first frame (XMP Specification Part 3, §1.1.2). */
export const readGif: HeaderReader = async ({ bytes, source }) => {
  const found = await readBySharp(source)
  return found && { ...found, xmp: await findXmp(bytes) }
}

async function findXmp(bytes: Bytes): Promise<Buffer | undefined> {
  const flags = (await bytes.read(10, 1))[0] ?? 0
  let at = 13 + tableBytes(flags)
  for (let count = 0; count < MAX_BLOCKS; count++) {
    const head = await bytes.read(at, 2 + XMP.length)
    if (head[0] !== EXTENSION) return undefined
    at += 2
    if (head[1] === APPLICATION && head.subarray(2).equals(XMP)) {
      const packet = await bytes.read(at + XMP.length, MAX_BLOCK_BYTES)
      const end = packet.indexOf(END_OF_XMP)
      return end < 0 ? undefined : packet.subarray(0, end)
    }
    for (; count < MAX_BLOCKS; count++) {
      const size = (await bytes.read(at, 1))[0] ?? 0
      at += 1 + size
      if (size === 0) break
    }
  }
}

/** The size of a table of colours (GIF89a §18). */
const tableBytes = (flags: number) => ((flags & 0x80) === 0 ? 0 : 3 * 2 ** ((flags & 7) + 1))
