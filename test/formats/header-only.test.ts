import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import t from 'tap'
import { HEAD_BYTES, sniff } from '../../formats/detect.ts'
import { formatNames } from '../../schemas/formats.ts'
import { examine } from '../../services/analysis/sandbox/examine.ts'
import { noSamples, sample } from '../helpers/images.ts'
import * as make from '../helpers/make.ts'

// Any bytes could hide behind a valid header. So each format has a decoder, or its header has to account for its bytes.

const jpeg = await make.picture().jpeg().toBuffer()
const until = (file: Buffer, mark: string | Buffer) => file.subarray(0, file.indexOf(mark, 0, 'latin1'))
const until4 = (file: Buffer, mark: string) => file.subarray(0, file.indexOf(mark, 0, 'latin1') - 4)
const brand = (file: Buffer, name: string) => {
  const copy = Buffer.from(file)
  copy.write(name, 20, 'latin1')
  return copy
}
const size = { 256: 300, 257: 200 }
const codestream = make.jxlCodestream([1, 1], [1, 5], [1, 3], [0, 1], [1, 1])

/** A header of each media type that the header readers accept, without a picture. */
const headers: Record<string, Buffer[]> = {
  'image/jpeg': [until(jpeg, Buffer.of(0xff, 0xda))],
  'image/png': [until4(make.png(), 'IDAT')],
  'image/apng': [until4(make.png([make.chunk('acTL', Buffer.from([0, 0, 0, 2, 0, 0, 0, 0]))]), 'IDAT')],
  'image/gif': [(await make.picture().gif().toBuffer()).subarray(0, 13)],
  'image/webp': [(await make.picture().webp().toBuffer()).subarray(0, 20)],
  'image/avif': [
    until4(await make.picture().avif().toBuffer(), 'mdat'),
    make.sequence('avis', 3, 75, 25),
    make.heif('avif'),
  ],
  'image/heic': [make.heif('heic')],
  'image/heic-sequence': [make.sequence('hevc', 3, 75, 25)],
  'image/heif': [make.heif('mif1')],
  'image/heif-sequence': [make.sequence('msf1', 3, 75, 25)],
  'image/tiff': [make.tiff(size), make.tiff(size, { big: true, little: false })],
  'image/bmp': [make.bmp(3000, 200, 24).subarray(0, 54), make.bmp(3, 2, 24), rleBmp(300, 200), rleBmp(1, 1)],
  'image/x-icon': [make.ico([16, 16]), icoOf(100_000)],
  'image/svg+xml': [Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9">')],
  'image/jxl': [codestream, make.jxl(make.box('jxlc', codestream)), openBox(make.jxl(), 'jxlc', codestream)],
  'image/jp2': [make.jp2(), openBox(make.jp2(), 'jp2c', make.j2c())],
  'image/jpx': [brand(make.jp2(), 'jpx ')],
  'image/jpm': [brand(make.jp2(), 'jpm ')],
  'image/jph': [brand(make.jp2(), 'jph ')],
  'image/j2c': [make.j2c()],
  'image/vnd.adobe.photoshop': [make.psd(), make.psd([], 1)],
  'image/x-adobe-dng': [make.tiff({ ...size, 50706: Buffer.from([1, 4, 0, 0]) })],
  'image/x-nikon-nef': [make.tiff({ 271: 'NIKON', 330: { ...size, 262: 32803 } })],
  'image/x-sony-arw': [make.tiff({ 271: 'SONY', 330: { ...size, 259: 32767 } })],
  'image/x-canon-cr2': [cr2()],
  'image/x-canon-cr3': [make.cr3(), openBox(make.cr3(), 'mdat', Buffer.alloc(0))],
  'image/x-olympus-orf': [make.tiff(size, { magic: 0x4f52 })],
  'image/x-panasonic-rw2': [make.tiff({ 4: 0, 5: 0, 6: 200, 7: 300 }, { magic: 0x55 })],
  'image/x-fujifilm-raf': [make.raf(until(jpeg, Buffer.of(0xff, 0xda)))],
}

/** A box to the end of the file. */
function openBox(file: Buffer, type: string, content: Buffer) {
  return Buffer.concat([file, Buffer.alloc(4), Buffer.from(type), content])
}

/** A BMP with run lengths, whose header declares the length of the payload. */
function rleBmp(width: number, height: number) {
  const header = make.bmp(width, height, 8).subarray(0, 54)
  header.writeUInt32LE(1, 30)
  header.writeUInt32LE(100_000, 34)
  return header
}

/** An icon whose directory declares the length of the payload. */
function icoOf(length: number) {
  const icon = make.ico([16, 16])
  icon.writeUInt32LE(length, 14)
  return icon
}

function cr2() {
  const file = make.tiff({ ...size, 34665: { 40962: 300, 40963: 200 } }, { at: 16 } as make.TiffOptions)
  file.write('CR\x02\0', 8, 'latin1')
  return file
}

const payloads: Record<string, Buffer> = {
  text: Buffer.from('#!/bin/sh\nexit 0\n'.repeat(6_000)).subarray(0, 100_000),
  'random bytes': randomBytes(100_000),
  zeros: Buffer.alloc(100_000),
}

async function verdictOf(file: Buffer) {
  const format = await sniff(file.subarray(0, HEAD_BYTES))
  return format ? examine({ task: 'examine', ...format }, file) : undefined
}

t.test('every accepted media type is tested', async (t) => {
  t.strictSame(Object.keys(headers).sort(), Object.keys(formatNames).sort())
})

t.test('a valid header with other bytes behind it is not ready, in any format', async (t) => {
  for (const [mediaType, each] of Object.entries(headers))
    for (const [n, header] of each.entries())
      for (const [about, payload] of Object.entries(payloads)) {
        const file = Buffer.concat([header, payload])
        const name = `${mediaType} ${n + 1} with ${about}`
        const detected = (await sniff(file.subarray(0, HEAD_BYTES)))?.mediaType
        t.ok(detected, `${name} is detected`)
        const verdict = await verdictOf(file)
        t.not(verdict?.status, 'ready', `${name}: ${JSON.stringify(verdict)}`)
      }
})

t.test(
  'complete pictures of formats that browsers do not show are decoded',
  { skip: noSamples },
  async (t) => {
    for (const name of [
      'fixture.jxl',
      'fixture2.jxl',
      'fixture.jp2',
      'fixture.psd',
      'fixture.bmp',
      'fixture.ico',
    ])
      t.match(
        await verdictOf(sample(`ft_fixture_${name}`)),
        { status: 'ready', metadata: { placeholder: /./ } },
        name,
      )
    const icon = readFileSync(new URL('../../../shared/cases/pictures/ico-reserved-255.ico', import.meta.url))
    t.match(await verdictOf(icon), { status: 'ready' }, 'an icon that .NET writes')
    for (const name of [
      'fixture-Leica-M10.dng',
      'fixture-sony-zv-e10.arw',
      'fixture-sequence.avif',
      'fixture4.nef',
    ])
      t.match(await verdictOf(sample(`ft_fixture_${name}`)), { status: 'ready' }, name)
  },
)

t.test(
  'a file that is cut off is failed, not corrupt, if its decoder needs the whole file',
  { skip: noSamples },
  async (t) => {
    const jp2 = sample('ft_fixture_fixture.jp2')
    t.match(await verdictOf(jp2.subarray(0, jp2.length * 0.7)), {
      status: /ready|failed/,
      metadata: { width: 92 },
    })
  },
)
