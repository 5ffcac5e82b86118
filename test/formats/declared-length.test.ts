import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import { compareLength } from '../../formats/declared-length.ts'
import { noSamples, sample } from '../helpers/images.ts'

/** A bitmap of Windows, with the pixels that its header declares or with others. */
function bmp(
  width: number,
  height: number,
  payload = Buffer.alloc(Math.ceil((width * 24) / 32) * 4 * height),
) {
  const header = Buffer.alloc(54)
  header.write('BM')
  header.writeUInt32LE(54 + payload.length, 2)
  header.writeUInt32LE(54, 10)
  header.writeUInt32LE(40, 14)
  header.writeInt32LE(width, 18)
  header.writeInt32LE(height, 22)
  header.writeUInt16LE(1, 26)
  header.writeUInt16LE(24, 28)
  return Buffer.concat([header, payload])
}

const box = (type: string, contents: Buffer) => {
  const head = Buffer.alloc(8)
  head.writeUInt32BE(8 + contents.length)
  head.write(type, 4, 'latin1')
  return Buffer.concat([head, contents])
}
const jp2 = Buffer.concat([
  box('jP  ', Buffer.from('\r\n\x87\n', 'latin1')),
  box('ftyp', Buffer.alloc(12)),
  box('jp2c', Buffer.alloc(500)),
])

t.test('a file is about as long as its header declares', async (t) => {
  for (const [about, format, bytes, expected] of [
    ['a bitmap', 'BMP', bmp(30, 20), 'fits'],
    ['from the top down', 'BMP', bmp(30, -20, Buffer.alloc(92 * 20)), 'fits'],
    ['truncated', 'BMP', bmp(30, 20).subarray(0, 1500), 'short'],
    ['a header with another payload', 'BMP', bmp(300, 200, Buffer.from('#!/bin/sh')), 'differs'],
    ['a small picture with a large payload', 'BMP', bmp(1, 1, Buffer.alloc(100_000)), 'differs'],
    ['a header alone', 'BMP', bmp(30, 20, Buffer.alloc(0)), 'differs'],
    ['a header that declares 2^62 bytes', 'BMP', bmp(2 ** 31 - 1, 2 ** 31 - 1, Buffer.alloc(100)), 'differs'],
    ['JPEG 2000', 'JPEG 2000', jp2, 'fits'],
    ['JPEG 2000 with a large payload', 'JPEG 2000', Buffer.concat([jp2, Buffer.alloc(100_000)]), 'differs'],
    ['a format that a decoder verifies', 'PNG', Buffer.alloc(10), 'unknown'],
  ] as const)
    t.equal(await compareLength(bytes, { format }), expected, about)
})

t.test('real files are as long as they declare', { skip: noSamples }, async (t) => {
  const folder = new URL('../../../shared/samples/', import.meta.url)
  const formats = {
    bmp: 'BMP',
    ico: 'ICO',
    psd: 'PSD',
    jp2: 'JPEG 2000',
    jpx: 'JPEG 2000',
    jxl: 'JPEG XL',
    cr3: 'CR3',
  }
  const names = readdirSync(folder).filter((name) => name.split('.').at(-1)! in formats)
  t.ok(names.length > 5, `${names.length} files`)
  for (const name of names) {
    const bytes = sample(name)
    const format = formats[name.split('.').at(-1) as keyof typeof formats]
    t.not(await compareLength(bytes, { format }), 'differs', name)
    const longer = Buffer.concat([bytes, Buffer.alloc(bytes.length + 10_000)])
    t.comment(`${name}: ${await compareLength(longer, { format })}`)
  }
})

t.test('an icon that .NET writes is as long as it declares', { skip: noSamples }, async (t) => {
  const icon = readFileSync(new URL('../../../shared/cases/pictures/ico-reserved-255.ico', import.meta.url))
  t.equal(await compareLength(icon, { format: 'ICO' }), 'fits')
  t.equal(await compareLength(Buffer.concat([icon, Buffer.alloc(100_000)]), { format: 'ICO' }), 'differs')
})
