import { crc32 } from 'node:zlib'
import type { Random } from './random.ts'

// Mutations that make parsers slow: wrong lengths and counts, repeated and nested parts, long runs of separators.

const NUMBERS = [0, 1, 2, 8, 12, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x7fffffff, 0xffffffff]
const MAX_BYTES = 65_536
/** What begins a part of a file, and what texts consist of. */
const FILE_TOKENS = [
  'tEXtA\0',
  'iTXtXML:com.adobe.xmp\0\0\0\0\0',
  'zTXtA\0\0',
  'ICC_PROFILE\0\x01\x01',
  'Exif\0\0II*\0\x08\0\0\0',
  'http://ns.adobe.com/xap/1.0/\0',
  '\xff\xe1\0\x08',
  '<rdf:li>',
  '<rdf:Description>',
  '<a b="c" d="e">',
  '<!-- -->',
  '<![CDATA[]]>',
  '&amp;',
  '&#x20;',
  ' xmlns:a="b"',
  '<!ENTITY a "b">',
]
const TEXT_TOKENS = [
  ' ',
  '\t',
  ',',
  ' , ',
  '"',
  '\\',
  '\\"',
  ';',
  ';q=0',
  '=',
  '%',
  '%e2',
  "'",
  ':',
  '::',
  '-',
  '.',
]
const MORE_TEXT_TOKENS = [
  '1Y',
  '0-0,',
  '=?utf-8?q?',
  '=?utf-8?b?YQ==?= ',
  '*',
  'W/"',
  '/',
  '(',
  '[',
  '9',
  'a',
  '\u0301',
]

const place = (random: Random, length: number) => Math.floor(random.next() * Math.max(1, length))

function insertRepeated(input: Buffer, random: Random, piece: Buffer) {
  const at = place(random, input.length)
  const most = Math.max(1, Math.floor(MAX_BYTES / Math.max(1, piece.length)))
  const count = 1 + place(random, random.pick([3, 100, most]))
  const repeated = Array.from({ length: Math.min(count, most) }, () => piece)
  return Buffer.concat([input.subarray(0, at), ...repeated, input.subarray(at)])
}

function mutateBytes(input: Buffer, random: Random): Buffer {
  const file = Buffer.from(input)
  switch (random.pick(['byte', 'number', 'copy', 'repeat', 'cut'])) {
    case 'byte':
      if (file.length > 0) file[place(random, file.length)] = place(random, 256)
      return file
    case 'number': {
      if (file.length < 4) return file
      const at = place(random, file.length - 3)
      if (random.next() < 0.5) file.writeUInt32BE(random.pick(NUMBERS), at)
      else file.writeUInt32LE(random.pick(NUMBERS), at)
      return file
    }
    case 'copy':
      file.copy(file, place(random, file.length), place(random, file.length), place(random, file.length) + 64)
      return file
    case 'repeat': {
      const at = place(random, file.length)
      return insertRepeated(file, random, file.subarray(at, at + 1 + place(random, 64)))
    }
    default:
      return file.subarray(0, place(random, file.length))
  }
}

/**
 * The parts of a file that have a name of four characters and a length: boxes of ISOBMFF, and chunks of PNG and RIFF.
 * `at` is where the length is.
 */
function partsOf(file: Buffer) {
  const isRiff = file.toString('latin1', 0, 4) === 'RIFF'
  const isPng = file[0] === 0x89
  const parts: { at: number; end: number }[] = []
  for (let name = 4; name + 4 <= Math.min(file.length, 8_192) && parts.length < 500; name++) {
    if (!/^[A-Za-z][A-Za-z0-9]{2}[A-Za-z0-9 ]$/.test(file.toString('latin1', name, name + 4))) continue
    const at = isRiff ? name + 4 : name - 4
    if (at + 4 > file.length) break
    const length = isRiff ? file.readUInt32LE(at) : file.readUInt32BE(at)
    const end = isRiff ? at + 4 + length : at + length + (isPng ? 12 : 0)
    if (end >= at + 8 && end <= file.length) parts.push({ at, end })
  }
  return parts
}

/** Changes the length of a part, repeats it, or nests it in copies of its own header. */
function mutateParts(file: Buffer, random: Random): Buffer {
  const parts = partsOf(file)
  if (parts.length === 0) return mutateBytes(file, random)
  const { at, end } = random.pick(parts)
  const start = Math.max(0, file.toString('latin1', 0, 4) === 'RIFF' ? at - 4 : at)
  const part = file.subarray(start, end)
  switch (random.pick(['length', 'repeat', 'nest'])) {
    case 'length': {
      const copy = Buffer.from(file)
      copy.writeUInt32BE(random.pick([...NUMBERS, file.length - at, place(random, file.length)]), at)
      return copy
    }
    case 'repeat': {
      const count = Math.min(1 + place(random, 2_000), Math.floor(MAX_BYTES / part.length))
      return Buffer.concat([
        file.subarray(0, end),
        ...Array.from({ length: count }, () => part),
        file.subarray(end),
      ])
    }
    default: {
      let nested = part
      const levels = random.pick([2, 20, 500])
      const heads: Buffer[] = []
      for (let n = 0; n < levels && nested.length + 8 * heads.length < MAX_BYTES - file.length; n++) {
        const head = Buffer.from(part.subarray(0, 8))
        head.writeUInt32BE(nested.length + 8 * (heads.length + 1))
        heads.unshift(head)
      }
      nested = Buffer.concat([...heads, nested])
      return Buffer.concat([file.subarray(0, start), nested, file.subarray(end)])
    }
  }
}

/** Corrects the checksums of a PNG: a reader ignores a chunk whose checksum is wrong. */
function repairPng(file: Buffer): Buffer {
  const repaired = Buffer.from(file)
  for (let at = 8; at + 12 <= file.length; ) {
    const end = at + 8 + file.readUInt32BE(at)
    if (end + 4 > file.length) break
    repaired.writeUInt32BE(crc32(repaired.subarray(at + 4, end)), end)
    at = end + 4
  }
  return repaired
}

/** A mutation of a file, of any format. Up to about twice 64 KiB. */
export function mutateFile(input: Buffer, random: Random): Buffer {
  const kind = random.pick(['bytes', 'bytes', 'parts', 'token'])
  const mutated =
    kind === 'bytes'
      ? mutateBytes(input, random)
      : kind === 'parts'
        ? mutateParts(input, random)
        : insertRepeated(input, random, Buffer.from(random.pick(FILE_TOKENS), 'latin1'))
  return mutated[0] === 0x89 && mutated.length > 8 && random.next() < 0.7 ? repairPng(mutated) : mutated
}

/** A mutation of a header field, a query or a name. */
export function mutateText(input: Buffer, random: Random): Buffer {
  return random.next() < 0.5
    ? mutateBytes(input, random)
    : insertRepeated(input, random, Buffer.from(random.pick([...TEXT_TOKENS, ...MORE_TEXT_TOKENS]), 'latin1'))
}
