import sharp from 'sharp'
import t, { type Test } from 'tap'
import { cpuMilliseconds } from '../../helpers/cpu.ts'
import {
  addMetadata,
  exif,
  joinPng,
  joinWebp,
  makePictures,
  type Part,
  picture,
  pixels,
  pngChunk,
  secrets,
  segment,
  splitJpeg,
  splitPng,
  splitWebp,
  strip,
  webpChunk,
} from './pictures.ts'

const pictures = await makePictures()
const bytesOf = (name: string) => pictures[name]!.bytes
const namesOf = (parts: Part[]) => parts.map(({ name }) => name)

const jpeg = (bytes: Buffer) => strip({ mediaType: 'image/jpeg', bytes })
const png = (bytes: Buffer) => strip({ mediaType: 'image/png', bytes })
const webp = (bytes: Buffer) => strip({ mediaType: 'image/webp', bytes })
const refuses = (t: Test, stripping: Promise<Buffer>, message: RegExp) =>
  t.rejects(stripping, { name: 'CannotStrip', message }, message.source)

t.test('JPEG', async (t) => {
  const plain = await jpeg(bytesOf('baseline JPEG'))
  const [soi, ...parts] = splitJpeg(plain)
  const rest = parts.pop()!.bytes
  const build = (...middle: Buffer[]) =>
    Buffer.concat([soi!.bytes, ...middle, ...parts.map(({ bytes }) => bytes), rest])
  const scanAt = plain.length - rest.length

  await t.test('only the listed parts are kept', async (t) => {
    const stripped = await jpeg(addMetadata(pictures['baseline JPEG']!))
    const kept = namesOf(splitJpeg(stripped)).filter((name, i, all) => name !== all[i - 1])
    t.strictSame(kept, ['d8', 'e0', 'e1', 'e2', 'db', 'c0', 'c4', 'rest'])
    const cmyk = splitJpeg(await jpeg(addMetadata(pictures['CMYK JPEG']!)))
    const [adobe] = cmyk.filter(({ name }) => name === 'ee')
    t.equal(adobe?.bytes.length, 16)
    t.equal(adobe?.bytes.toString('latin1', 4, 9), 'Adobe')
  })

  await t.test("JFIF and Adobe's segment keep only their own fields", async (t) => {
    const fields = 'JFIF\0\x01\x02\x01\0\x48\0\x49'
    const stripped = await jpeg(
      build(
        segment(0xe0, Buffer.concat([Buffer.from(`${fields}\x02\x0b`, 'latin1'), secrets(6)])),
        segment(0xe0, 'JFIF\0\x01'),
        segment(0xee, Buffer.concat([Buffer.from('Adobe\0\x64\0\0\0\0\x01', 'latin1'), secrets(6)])),
        segment(0xee, 'Adobe\0'),
      ),
    )
    const expected = build(
      segment(0xe0, Buffer.from(`${fields}\0\0`, 'latin1')),
      segment(0xee, Buffer.from('Adobe\0\x64\0\0\0\0\x01', 'latin1')),
    )
    t.ok(stripped.equals(expected))
  })

  await t.test('a profile in several segments is kept', async (t) => {
    const bytes = await picture().toColourspace('cmyk').withIccProfile('cmyk').jpeg().toBuffer()
    t.ok(splitJpeg(bytes).filter(({ name }) => name === 'e2').length > 1)
    const [was, is] = await Promise.all([bytes, await jpeg(bytes)].map((bytes) => sharp(bytes).metadata()))
    t.ok(was!.icc!.equals(is!.icc!))
  })

  await t.test('a profile that browsers ignore is removed, and bytes behind its end', async (t) => {
    const { bytes: profile } = parts.find(({ name }) => name === 'e2')!
    const others = parts.filter(({ name }) => name !== 'e2').map(({ bytes }) => bytes)
    const withProfile = (...profile: Buffer[]) => Buffer.concat([soi!.bytes, ...profile, ...others, rest])
    const contents = profile.subarray(4)
    t.ok((await jpeg(withProfile(profile))).includes(contents))
    const numbered = (number: number, count: number) => {
      const part = Buffer.from(profile)
      part.set([number, count], 16)
      return part
    }
    for (const [name, damaged] of Object.entries({
      'it occurs twice': [profile, profile],
      'it is cut off': [segment(0xe2, contents.subarray(0, -4))],
      'it is no profile': [segment(0xe2, Buffer.concat([contents.subarray(0, 14), secrets(40)]))],
      'it is numbered from 0': [numbered(0, 1)],
      'a part is missing': [numbered(1, 2)],
    }))
      t.ok((await jpeg(withProfile(...damaged))).equals(withProfile()), name)
    const padded = segment(0xe2, Buffer.concat([contents, secrets(1)]))
    t.ok((await jpeg(withProfile(padded))).equals(withProfile(profile)), 'it is padded')
  })

  await t.test('comments between the scans are removed, the scans and their tables are kept', async (t) => {
    const progressive = await jpeg(bytesOf('progressive JPEG'))
    const firstScan = progressive.length - splitJpeg(progressive).at(-1)!.bytes.length
    const scans = [...progressive.toString('latin1').matchAll(/\xff[\xc4\xda]\0/g)].filter(
      ({ index }) => index > firstScan,
    )
    t.ok(scans.length > 4)
    let laden = progressive
    for (const { index } of scans.toReversed()) {
      const metadata = [
        segment(0xfe, secrets(20)),
        segment(0xe1, secrets(20)),
        segment(0xe2, 'ICC_PROFILE\0\x01\x01late'),
      ]
      laden = Buffer.concat([laden.subarray(0, index), ...metadata, laden.subarray(index)])
    }
    t.ok(laden.length > progressive.length + 1000)
    t.ok((await jpeg(laden)).equals(progressive))
  })

  await t.test('restart markers are part of the scan', async (t) => {
    const grey = await sharp({ create: { width: 24, height: 8, channels: 3, background: '#808080' } })
      .toColourspace('b-w')
      .jpeg({ optimiseCoding: false })
      .toBuffer()
    const parts = splitJpeg(await jpeg(grey))
    const rest = parts.pop()!.bytes
    const header = rest.subarray(0, 2 + rest.readUInt16BE(2))
    // Of a grey block nothing is coded but 00 (no difference) and 1010 (end of block), filled up with ones.
    const scan = Buffer.from('2bffd02bffd12bffd9', 'hex')
    const restart = segment(0xdd, Buffer.of(0, 1))
    const bytes = Buffer.concat([...parts.map(({ bytes }) => bytes), restart, header, scan])
    t.ok((await pixels(bytes)).every((value) => value === 128))
    t.ok((await jpeg(Buffer.concat([bytes, secrets(1)]))).equals(bytes))
  })

  await t.test('FFs can precede a marker', async (t) => {
    const fill = Buffer.alloc(300, 0xff)
    const filled = Buffer.concat([
      soi!.bytes,
      ...parts.flatMap(({ bytes }) => [fill, bytes]),
      fill,
      rest.subarray(0, -2),
      fill,
      rest.subarray(-2),
    ])
    const stripped = await jpeg(filled)
    t.ok(stripped.equals(Buffer.concat([plain.subarray(0, -2), fill, plain.subarray(-2)])))
    t.ok((await pixels(stripped)).equals(await pixels(plain)))
  })

  await t.test('the number of lines can follow the first scan', async (t) => {
    const bytes = Buffer.concat([plain.subarray(0, -2), segment(0xdc, Buffer.of(0, 64)), plain.subarray(-2)])
    t.ok((await jpeg(bytes)).equals(bytes))
    await refuses(t, jpeg(build(segment(0xdc, Buffer.of(0, 64)))), /not known/)
  })

  await t.test('the first of several Exif segments decides the orientation', async (t) => {
    const app1 = (orientation: number) =>
      segment(0xe1, Buffer.concat([Buffer.from('Exif\0\0', 'latin1'), exif(orientation)]))
    const stripped = await jpeg(build(app1(8), app1(3)))
    t.equal((await sharp(stripped).metadata()).orientation, 8)
    t.equal(splitJpeg(stripped).filter(({ name }) => name === 'e1').length, 1)
    t.equal((await sharp(await jpeg(build(app1(9)))).metadata()).orientation, undefined)
    const noTiff = build(segment(0xe1, 'Exif\0\0no TIFF'), segment(0xe1, 'Exif\0'))
    t.ok((await jpeg(noTiff)).equals(plain))
  })

  await t.test('a misplaced segment or a wrong length is refused', async (t) => {
    const damaged: [RegExp, Buffer][] = [
      [/between/, Buffer.concat([soi!.bytes, secrets(1), plain.subarray(2)])],
      [/between/, build(Buffer.concat([segment(0xfe, secrets(1)), Buffer.of(0)]))],
      [/shorter/, build(Buffer.of(0xff, 0xfe, 0, 1))],
      [/contents/, build(segment(0xdb, Buffer.alloc(66)))],
      [/contents/, build(segment(0xc4, Buffer.concat([Buffer.alloc(17), secrets(1)])))],
      [/contents/, build(segment(0xdd, Buffer.alloc(3)))],
      [
        /contents/,
        build(segment(0xc0, Buffer.concat([Buffer.from('080008000801011100', 'hex'), secrets(1)]))),
      ],
      [/contents/, build(segment(0xda, Buffer.from('0101000000'.repeat(2), 'hex')))],
      [/more than one frame/, build(segment(0xc0, Buffer.from('080008000801011100', 'hex')))],
      [/scan before/, build(segment(0xda, Buffer.from('010100003f00', 'hex')))],
      [/not known/, build(segment(0xc8, secrets(1)))],
      [/not known/, build(segment(0xde, secrets(1)))], // hierarchical
      [/not known/, build(segment(0xf0, secrets(1)))],
      [/not known/, build(Buffer.from(plain.subarray(0, 2)))], // SOI again
      [/not known/, Buffer.concat([plain.subarray(0, -2), segment(0xf7, secrets(1)), plain.subarray(-2)])],
      [/no scan/, Buffer.concat([plain.subarray(0, scanAt), Buffer.of(0xff, 0xd9)])],
      [/cut off/, plain.subarray(0, scanAt)],
    ]
    for (const [message, bytes] of damaged) await refuses(t, jpeg(bytes), message)
  })

  await t.test('a missing marker of the end is added', async (t) => {
    t.ok((await jpeg(plain.subarray(0, -2))).equals(plain))
    t.same(await pixels(await jpeg(plain.subarray(0, -1))), await pixels(plain))
    const cut = await jpeg(plain.subarray(0, -100))
    t.ok(cut.equals(Buffer.concat([plain.subarray(0, -100), Buffer.of(0xff, 0xd9)])))
  })

  await t.test('too many pieces are refused', async (t) => {
    const pair = Buffer.concat([segment(0xdd, Buffer.alloc(2)), segment(0xfe, '')])
    t.ok((await jpeg(build(...Array(10_000).fill(pair)))).length)
    await refuses(t, jpeg(build(...Array(20_000).fill(pair))), /too many (pieces|chunks)/)
  })

  await t.test('thousands of parts of a broken profile are removed at once', async (t) => {
    const part = segment(0xe2, Buffer.from('ICC_PROFILE\0\x03\x03\x01', 'latin1'))
    const cpuOf = async (count: number) => {
      const begun = cpuMilliseconds()
      t.ok((await jpeg(build(Buffer.alloc(count * part.length, part)))).equals(plainWithoutProfile))
      return cpuMilliseconds() - begun
    }
    const plainWithoutProfile = await jpeg(build(part))
    await cpuOf(1_000)
    const few = await cpuOf(4_000)
    const many = await cpuOf(16_000)
    // A quadratic removal takes 16 times longer.
    t.ok(many < 10 * few + 50, `${few} ms, ${many} ms`)
  })

  await t.test('other requests have their turn while thousands of segments are read', async (t) => {
    const file = build(Buffer.alloc(30_000 * 4, segment(0xfe, '')))
    let turns = 0
    const count = () => {
      turns++
      turn = setImmediate(count)
    }
    let turn = setImmediate(count)
    t.ok((await strip({ mediaType: 'image/jpeg', bytes: file }, file.length)).equals(plain))
    clearImmediate(turn)
    t.ok(turns > 100, `${turns} turns of the event loop`)
  })
})

t.test('PNG', async (t) => {
  const plain = bytesOf('PNG')
  const parts = splitPng(plain)
  const [ihdr, ...others] = parts.map(({ bytes }) => bytes)
  const build = (...middle: Buffer[]) => joinPng([ihdr!, ...middle, ...others])

  await t.test('only the listed parts are kept', async (t) => {
    const stripped = await png(addMetadata(pictures.APNG!))
    t.strictSame(namesOf(splitPng(stripped)), [
      'IHDR',
      'eXIf',
      'iCCP',
      'pHYs',
      'acTL',
      'fcTL',
      'IDAT',
      'fcTL',
      'fdAT',
      'IEND',
    ])
    const colours = [
      pngChunk('cICP', Buffer.of(9, 16, 0, 1)),
      pngChunk('gAMA', Buffer.of(0, 0, 0xb1, 0x8f)),
      pngChunk('cHRM', Buffer.alloc(32, 1)),
      pngChunk('sBIT', Buffer.of(8, 8, 8)),
      pngChunk('bKGD', Buffer.alloc(6)),
      pngChunk('mDCV', Buffer.alloc(24)),
      pngChunk('cLLI', Buffer.alloc(8)),
      pngChunk('sRGB', Buffer.of(0)),
    ]
    t.ok((await png(build(...colours))).equals(build(...colours)))
  })

  await t.test('private and unknown chunks are removed', async (t) => {
    const types = ['vpAg', 'iDOT', 'caBX', 'dSIG', 'hIST', 'sPLT', 'pCAL', 'sCAL', 'sTER', 'gIFx', 'mkBF']
    const laden = build(...types.map((type) => pngChunk(type, secrets(5))))
    t.ok((await png(laden)).equals(plain))
  })

  await t.test('the orientation is kept if browsers use it', async (t) => {
    const last = others.at(-1)!
    const behind = joinPng([ihdr!, ...others.slice(0, -1), pngChunk('eXIf', exif(7)), last])
    t.ok((await png(behind)).equals(plain), 'not behind the pixels')
    const prefixed = Buffer.concat([Buffer.from('Exif\0\0'), exif(7)])
    t.ok((await png(build(pngChunk('eXIf', prefixed)))).equals(plain), 'not with a prefix')
    const stripped = await png(build(pngChunk('eXIf', exif(7))))
    t.equal((await sharp(stripped).metadata()).orientation, 7)
    t.ok((await png(build(pngChunk('eXIf', exif(1))))).equals(plain))
    t.ok((await png(build(pngChunk('eXIf', Buffer.alloc(0))))).equals(plain))
  })

  await t.test('damaged and unknown critical chunks are refused', async (t) => {
    const wrongCrc = Buffer.from(plain)
    wrongCrc[wrongCrc.indexOf('IDAT') + 20]! ^= 1
    t.ok((await png(wrongCrc)).equals(wrongCrc), 'damaged pixels are kept')
    const idat = plain.indexOf('IDAT') - 4
    const swallowing = Buffer.concat([
      plain.subarray(0, -12),
      pngChunk('tEXt', secrets(1)),
      plain.subarray(-12),
    ])
    swallowing.writeUInt32BE(plain.readUInt32BE(idat) + 100, idat)
    const damaged: [RegExp, Buffer][] = [
      [/IDAT is damaged/, swallowing],
      [/without CgBI/, build(pngChunk('CgBI', Buffer.alloc(4)))],
      [/without prVt|without PrVt/, build(pngChunk('PrVt', secrets(1)))],
      [/gAMA is too long/, build(pngChunk('gAMA', secrets(1)))],
      [/IEND is too long/, joinPng([ihdr!, ...others.slice(0, -1), pngChunk('IEND', secrets(1))])],
      [/Exif is too long/, build(pngChunk('eXIf', Buffer.alloc(2 ** 20 + 1)))],
      [/without a type/, build(pngChunk('te\0t', secrets(1)))],
      [/begin with IHDR/, joinPng([pngChunk('tEXt', secrets(1)), ihdr!, ...others])],
      [/cut off/, plain.subarray(0, plain.indexOf('IDAT'))],
    ]
    for (const [message, bytes] of damaged) await refuses(t, png(bytes), message)
  })

  await t.test('a missing end is added', async (t) => {
    t.ok((await png(joinPng([ihdr!, ...others.slice(0, -1)]))).equals(plain))
    t.ok((await png(plain.subarray(0, -1))).equals(plain))
    const cut = plain.subarray(0, plain.indexOf('IDAT') + 100)
    t.ok((await png(cut)).subarray(0, cut.length).equals(cut))
  })

  await t.test('many chunks take little time, too many are refused', async (t) => {
    const empty = pngChunk('teXt', Buffer.alloc(0))
    const flood = (count: number) => build(Buffer.alloc(count * empty.length, empty))
    const begun = cpuMilliseconds()
    t.ok((await png(flood(30_000))).equals(plain))
    t.ok(cpuMilliseconds() - begun < 2000)
    await refuses(t, png(flood(33_000)), /too many chunks/)
  })
})

t.test('WebP', async (t) => {
  const plain = bytesOf('lossy WebP') // VP8X, ICCP, VP8
  const chunks = splitWebp(plain).map(({ bytes }) => bytes)
  const [vp8x, iccp, vp8] = chunks as [Buffer, Buffer, Buffer]
  const flagged = (flags: number, chunk = vp8x) => {
    const changed = Buffer.from(chunk)
    changed[8] = flags
    return changed
  }
  const flagsOf = (bytes: Buffer) => splitWebp(bytes)[0]!.bytes[8]

  await t.test('only the listed chunks are kept, the length and the flags are correct', async (t) => {
    for (const [name, kept, flags] of [
      ['lossy WebP', ['VP8X', 'ICCP', 'VP8 '], 0x20],
      ['lossless WebP', ['VP8X', 'ICCP', 'VP8L'], 0x20],
      ['WebP with alpha', ['VP8X', 'ICCP', 'ALPH', 'VP8 '], 0x30],
      ['animated WebP', ['VP8X', 'ICCP', 'ANIM', 'ANMF', 'ANMF'], 0x22],
    ] as const) {
      const stripped = await webp(addMetadata(pictures[name]!))
      t.strictSame(namesOf(splitWebp(stripped)), kept, name)
      t.equal(stripped.readUInt32LE(4) + 8, stripped.length)
      t.equal(flagsOf(stripped)! & 0x2e, flags & 0x2e)
    }
  })

  await t.test('no flag of metadata is kept', async (t) => {
    const exif1 = webpChunk('EXIF', exif(1))
    const laden = joinWebp([flagged(0x2c), iccp, vp8, exif1, webpChunk('XMP ', secrets(3))])
    t.ok((await webp(laden)).equals(joinWebp([flagged(0x20), iccp, vp8])))
  })

  await t.test('chunks that the header does not announce are removed: decoders ignore them', async (t) => {
    const laden = joinWebp([flagged(0), iccp, vp8, webpChunk('EXIF', exif(6)), webpChunk('XMP ', secrets(3))])
    t.ok((await webp(laden)).equals(joinWebp([flagged(0), vp8])))
    const simple = joinWebp([vp8, webpChunk('EXIF', exif(6)), webpChunk('VP8 ', secrets(3))])
    t.ok((await webp(simple)).equals(joinWebp([vp8])))
    const longHeader = webpChunk('VP8X', Buffer.concat([flagged(0x20).subarray(8), secrets(2)]))
    t.ok((await webp(joinWebp([longHeader, iccp, vp8]))).equals(joinWebp([flagged(0x20), iccp, vp8])))
    t.equal(flagsOf(await webp(joinWebp([flagged(0xc1), iccp, vp8]))), 0x00, 'reserved bits')
  })

  await t.test('a damaged profile is removed, and bytes behind its end', async (t) => {
    const padded = webpChunk('ICCP', Buffer.concat([iccp.subarray(8), secrets(1)]))
    t.ok((await webp(joinWebp([vp8x, padded, vp8]))).equals(joinWebp([vp8x, iccp, vp8])))
    for (const damaged of [secrets(10), Buffer.alloc(0)])
      t.ok(
        (await webp(joinWebp([vp8x, webpChunk('ICCP', damaged), vp8]))).equals(joinWebp([flagged(0), vp8])),
      )
  })

  await t.test('XMP whose name ends with a NUL is removed', async (t) => {
    const laden = joinWebp([flagged(0x24), iccp, vp8, webpChunk('XMP\0', secrets(3))])
    t.ok((await webp(laden)).equals(joinWebp([flagged(0x20), iccp, vp8])))
  })

  await t.test('unknown chunks in frames are removed', async (t) => {
    const film = bytesOf('animated WebP')
    const [header, ...rest] = splitWebp(film)
    const laden = joinWebp([
      header!.bytes,
      vp8, // in a film all pictures are in frames
      ...rest.map(({ name, bytes }) => {
        if (name !== 'ANMF') return bytes
        const frame = bytes.subarray(8)
        const head = frame.subarray(0, 16)
        return webpChunk(
          'ANMF',
          Buffer.concat([head, webpChunk('EXIF', secrets(3)), frame.subarray(16), webpChunk('ANMF', frame)]),
        )
      }),
    ])
    t.ok((await webp(laden)).equals(film))
  })

  await t.test('a picture that is cut off is served as far as it is present', async (t) => {
    for (const missing of [1, 9, 100]) {
      const extended = joinWebp([vp8x, iccp, vp8]).subarray(0, -missing)
      t.ok((await webp(extended)).equals(extended), 'extended, without metadata')
      const simple = joinWebp([vp8]).subarray(0, -missing)
      t.ok((await webp(simple)).equals(simple), 'simple')
    }
  })

  await t.test('a damaged file is refused', async (t) => {
    const film = splitWebp(bytesOf('animated WebP')).map(({ bytes }) => bytes)
    const frame = film.at(-1)!.subarray(8)
    const inFrame = (...contents: Buffer[]) =>
      joinWebp([...film, webpChunk('ANMF', Buffer.concat([frame.subarray(0, 16), ...contents]))])
    const tooLong = Buffer.from(vp8)
    tooLong.writeUInt32LE(vp8.length, 4)
    const damaged: [RegExp, Buffer][] = [
      [/no WebP/, Buffer.concat([Buffer.from('RIFF\x10\0\0\0WAVE', 'latin1'), Buffer.alloc(20)])],
      [/begin with/, joinWebp([iccp, vp8])],
      [/begin with/, joinWebp([])],
      [/no picture/, joinWebp([vp8x, iccp])],
      [/no picture/, joinWebp([film[0]!, vp8])],
      [/twice/, joinWebp([vp8x, iccp, vp8, vp8])],
      [/twice/, joinWebp([vp8x, iccp, vp8, webpChunk('VP8L', secrets(3))])],
      [/lacks/, joinWebp([flagged(0x28), iccp, vp8])],
      [/lacks/, joinWebp([flagged(0x24), iccp, vp8])],
      [/longer/, joinWebp([vp8x, iccp, tooLong])],
      [/longer/, joinWebp([vp8x, iccp, vp8.subarray(0, -2)])],
      [/without a name/, joinWebp([vp8x, iccp, vp8, webpChunk('\0\0\0\0', secrets(1))])],
      [/a frame is cut off/, joinWebp([...film, webpChunk('ANMF', Buffer.alloc(10))])],
      [/frame has no picture/, inFrame(webpChunk('EXIF', secrets(1)))],
      [/two pictures/, inFrame(vp8, vp8)],
      [/longer/, inFrame(vp8.subarray(0, -2))],
      [/cut off/, plain.subarray(0, 20)],
      [/lacks/, joinWebp([flagged(0x28), iccp, vp8]).subarray(0, -9)],
      [/cut off/, joinWebp(film).subarray(0, -9)],
    ]
    for (const [message, bytes] of damaged) await refuses(t, webp(bytes), message)
  })
})
