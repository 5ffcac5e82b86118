import { readFileSync } from 'node:fs'
import t from 'tap'
import { openDecoder } from '../../helpers/decoder.ts'
import { noSamples } from '../../helpers/images.ts'

t.test(
  'a picture whose decoder is ended for its memory keeps the metadata of its header',
  { skip: noSamples },
  async (t) => {
    // 200 megapixels in one tile, and its `meta` box is at the end.
    const path = new URL('../../../../shared/cases/pictures/heic-200mp-one-tile.heic', import.meta.url)
    t.match(await openDecoder(t, { memory: 2 ** 28 }).examine(readFileSync(path)), {
      status: 'failed',
      failure: /MiB|limit|memory/,
      metadata: {
        width: 16_320,
        height: 12_240,
        orientation: 6,
        cameraModel: 'Galaxy S24 Ultra',
        takenAt: '2025-01-19T14:53:27',
      },
    })
  },
)
