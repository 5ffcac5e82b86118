import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import t from 'tap'
import { build, makeLink } from '../../helpers/app.ts'
import { makeImage } from '../../helpers/images.ts'
import { multipart } from '../../helpers/multipart.ts'

t.test('an archive whose image cannot be read to its end is cut off, and never looks complete', async (t) => {
  const app = await build(t)
  const link = await makeLink(app)
  const files = [{ body: await makeImage('png') }, { body: await makeImage('png') }]
  await app.inject({ method: 'POST', url: link, ...multipart(files) })
  const { archives } = app.services
  t.match((await buffer(archives.open({}))).toString('latin1'), END_OF_ARCHIVE)

  const store = app.stores.objects.at({ region: '', tier: 'hot' })
  const get = store.get
  const broken: Record<string, () => Readable> = {
    'the read fails': () => Readable.from(failing()),
    'bytes are missing': () => Readable.from([Buffer.alloc(1)]),
  }
  for (const [name, read] of Object.entries(broken)) {
    store.get = async () => read()
    let received = ''
    const reading = async () => {
      for await (const chunk of archives.open({})) received += (chunk as Buffer).toString('latin1')
    }
    await t.rejects(reading(), name)
    t.notMatch(received, END_OF_ARCHIVE, name)
  }
  store.get = get
})

/** The signature of the end of the central directory (APPNOTE.TXT §4.3.16). */
const END_OF_ARCHIVE = 'PK\x05\x06'

async function* failing() {
  yield Buffer.alloc(1)
  throw new Error('the store is unavailable')
}
