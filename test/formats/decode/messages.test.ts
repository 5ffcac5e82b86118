import { existsSync, readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import { checkVersion } from '../../../formats/decode/heif.ts'
import { explain, MESSAGES } from '../../../formats/decode/libvips.ts'

const packages = new URL('../../../node_modules/@img/', import.meta.url)
/** The native libraries of the installed sharp. */
const libraries = readdirSync(packages)
  .flatMap((name) => {
    const folder = new URL(`${name}/lib/`, packages)
    return existsSync(folder) ? readdirSync(folder).map((file) => new URL(file, folder)) : []
  })
  .filter(({ pathname }) => /\.(so|node|dylib|dll)(\.|$)/.test(pathname))
  .map((file) => readFileSync(file))

t.test(
  'each message by which a failure is classified exists in the installed version of libvips',
  async (t) => {
    t.ok(libraries.length > 0)
    for (const [kind, texts] of Object.entries(MESSAGES))
      for (const text of texts) {
        // The parts of a message that are not put together at run time.
        const parts = text === 'Error domain 1 code 114 ' ? ['Error domain '] : [text.split(': ')[0]!]
        t.ok(
          parts.every((part) => libraries.some((library) => library.includes(part))),
          `${kind}: ${text}`,
        )
      }
  },
)

t.test('an unknown message does not make an image corrupt', async (t) => {
  t.equal(explain('vips_new_operation: a new message').status, 'failed')
  t.equal(explain('VipsJpeg: premature end of JPEG image').status, 'corrupt')
})

t.test('another version of libheif is refused with an instruction', async (t) => {
  t.doesNotThrow(() => checkVersion())
  t.throws(() => checkVersion('9.9.9'), { message: /9\.9\.9.*strict_decoding/ })
})
