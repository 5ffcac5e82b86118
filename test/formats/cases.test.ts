import { existsSync, readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import t from 'tap'
import { decode } from '../../formats/decode/decode.ts'
import { Undecodable } from '../../formats/decode/undecodable.ts'
import { HEAD_BYTES, sniff } from '../../formats/detect.ts'
import { readMetadata } from '../../formats/metadata.ts'
import { strip } from './strip/pictures.ts'

// Kinds of pictures from bug reports and collections. The correct values are those of Chromium 156, Firefox 153 and
// ExifTool 12.57.

const cases = new URL('../../../shared/cases/pictures/', import.meta.url)
const skip = existsSync(cases) ? false : 'no ../shared/cases'

function open(name: string) {
  const file = readFileSync(new URL(name, cases))
  return name.endsWith('.gz') ? gunzipSync(file) : file
}

async function metadataOf(file: Buffer) {
  const format = await sniff(file.subarray(0, HEAD_BYTES))
  return format && (await readMetadata(file, format))
}

/** The verdict of a decoder, with the share of the picture if it is damaged. */
async function verdictOf(file: Buffer) {
  try {
    const { damage } = (await decode(file, (await metadataOf(file))!)) ?? {}
    return { status: 'ready', damaged: damage !== undefined, presentShare: damage?.presentShare }
  } catch (error) {
    if (!(error instanceof Undecodable)) throw error
    return { status: error.status }
  }
}

const intact = { status: 'ready', damaged: false }
const damaged = (presentShare?: number) => ({ status: 'ready', damaged: true, presentShare })

t.test('no picture that people can see is corrupt', { skip }, async (t) => {
  for (const [name, expected] of Object.entries({
    'tiff-6-channels.tif': intact,
    'tiff-planar-ycbcr.tif': { status: 'failed' },
    'tiff-logl-72k.tif': { status: 'failed' },
    'tiff-next-ifd-garbage.tif': damaged(1),
    'tiff-empty-exif-tag.tif': damaged(1),
    'avif-over-256-items.avif': intact,
    'heic-over-256-items.heic': intact,
    'gif-no-end.gif': intact,
    'gif-cut-last-12.gif': damaged(0.998),
    'jpeg-progressive-no-eoi.jpg': intact,
    'jpeg-last-60-bytes-missing.jpg': damaged(0.953),
    'png-idat-crc.png': damaged(1),
    'png-adler.png': damaged(1),
    'png-window-too-small.png': damaged(1),
    'png-cut-last-row.png': damaged(0.995),
    'svg-background-no-size.svg': intact,
    'svg-foreignobject-no-size.svg': intact,
    'svg-viewbox-0.4.svg': intact,
    'svg-says-utf16.svg': intact,
    'svg-windows-1251.svg': intact,
    'svg-11mb-embedded-image.svg.gz': intact,
    'svg-nested-g-257.svg': intact,
    'strip-406-no-eoi.jpg': intact,
  }))
    t.match(await verdictOf(open(name)), expected, name)
})

t.test('each case has its correct metadata', { skip }, async (t) => {
  const acme = { cameraMake: 'Acme', cameraModel: 'Shot 1' }
  const upright = { width: 96, height: 64, orientation: undefined }
  const place = { latitude: 55.031666666666666, longitude: 36.0325 }
  const fromXmp = { ...acme, ...place, takenAt: '2004-01-02T03:04:05', takenOffset: '+01:00' }
  const nowhere = { latitude: undefined, longitude: undefined }
  for (const [name, expected] of Object.entries({
    'svg-background-no-size.svg': { width: 300, height: 150 },
    'svg-foreignobject-no-size.svg': { width: 300, height: 150 },
    'svg-viewbox-0.4.svg': { width: 150, height: 150 },
    'svg-says-utf16.svg': { width: 40, height: 30 },
    'svg-windows-1251.svg': { width: 40, height: 30 },
    'ico-reserved-255.ico': { format: 'ICO', width: 32, height: 32 },
    'gps-as-text.jpg': { latitude: 52.013888888888886, longitude: 11.002777777777778 },
    'gps-negative-rational-S.jpg': { latitude: -48.858333333333334, longitude: -2.2944444444444443 },
    'xmp-comment.jpg': fromXmp,
    'xmp-xapmeta.jpg': fromXmp,
    'xmp-trailing-nul.jpg': fromXmp,
    'xmp-utf16.jpg': fromXmp,
    'xmp-gps-decimal.jpg': { latitude: 55.0316, longitude: 36.0325 },
    'orientation-long.jpg': upright,
    'orientation-twice.jpg': { width: 96, height: 64, orientation: 6 },
    'orientation-png-exif-prefix.png': { ...upright, ...acme },
    'orientation-png-after-idat.png': { ...upright, ...acme },
    'orientation-webp-exif.webp': { ...upright, ...acme },
    'avif-sequence-exif.avif': {
      cameraMake: 'Google',
      cameraModel: 'Pixel 4a',
      takenAt: '2022-08-22T20:30:46',
      takenOffset: '+02:00',
    },
    'webp-exif-no-flag.webp': { ...acme, ...upright },
    'strip-406-xmp-nul-chunk.webp': acme,
    'exif-empty-block-first.jpg': { ...acme, orientation: 6 },
    'make-in-exififd.jpg': { ...acme, takenAt: '2014-04-26T19:09:19' },
    'date-24h-nokia.jpg': { takenAt: '2019-01-01T00:04:20', ...nowhere },
    'date-slashes.jpg': { takenAt: '2019-01-01T10:04:20' },
    'offset-z.jpg': { takenAt: '2016-12-31T23:59:50', takenOffset: '+00:00' },
    'heic-over-256-items.heic': { cameraModel: 'ILCE-7SM3', takenAt: '2020-09-14T11:09:34' },
    'heic-200mp-one-tile.heic': {
      cameraMake: 'samsung',
      cameraModel: 'Galaxy S24 Ultra',
      takenAt: '2025-01-19T14:53:27',
      takenOffset: '+03:00',
      width: 16_320,
      height: 12_240,
      orientation: 6,
    },
  })) {
    const blank = Object.fromEntries(Object.keys(expected).map((field) => [field, undefined]))
    t.match({ ...blank, ...(await metadataOf(open(name))) }, expected, name)
  }
})

t.test(
  'each case that is served without metadata has no tags and the same orientation',
  { skip },
  async (t) => {
    for (const name of [
      'strip-406-icc-twice.jpg',
      'strip-406-no-eoi.jpg',
      'strip-406-xmp-nul-chunk.webp',
      'orientation-long.jpg',
      'orientation-twice.jpg',
      'orientation-png-exif-prefix.png',
      'orientation-png-after-idat.png',
      'orientation-webp-exif.webp',
      'exif-empty-block-first.jpg',
      'jpeg-progressive-no-eoi.jpg',
      'jpeg-last-60-bytes-missing.jpg',
      'png-idat-crc.png',
      'png-adler.png',
      'png-window-too-small.png',
      'png-cut-last-row.png',
    ]) {
      const bytes = open(name)
      const before = (await metadataOf(bytes))!
      const copy = await strip({ mediaType: before.mediaType, bytes })
      const after = await metadataOf(copy)
      t.match(
        { cameraMake: undefined, ...after },
        { orientation: before.orientation, width: before.width, cameraMake: undefined },
        name,
      )
      t.notOk(copy.includes('Acme'), `${name}: no tags`)
      t.match(await verdictOf(copy), { status: 'ready' }, `${name}: the copy can be decoded`)
    }
  },
)
