import t from 'tap'
import { build, imageReader, makeLink, objectsOf } from '../helpers/app.ts'
import { makeImage } from '../helpers/images.ts'
import { multipart } from '../helpers/multipart.ts'
import { isProblem } from '../helpers/problem.ts'

const WARN = 40
const ERROR = 50

interface Line {
  level: number
  msg: string
  err?: { message: string; stack: string }
}

const lines: Line[] = []
const app = await build(t, { LOG_LEVEL: 'warn' }, { imageReader }, lines)
const link = await makeLink(app)
t.beforeEach(() => {
  lines.length = 0
})

const upload = async (url = link) => {
  const body = await makeImage()
  return app.inject({ method: 'POST', url, ...multipart([{ body }, { body }]) })
}

const staged = async () =>
  (await Array.fromAsync(objectsOf(app).list())).filter(({ key }) => key.startsWith('incoming/')).length

t.test('an unknown error while a part is received gets 500 and is logged with its stack', async (t) => {
  const faults: [string, object, string][] = [
    ['the start of an object', objectsOf(app), 'stage'],
    ['the query of the link', app.stores.data.links, 'find'],
    ['the record of an upload', app.stores.data.uploads, 'record'],
  ]
  for (const [about, target, method] of faults) {
    const original = Reflect.get(target, method)
    const error = new TypeError(`a fault in ${about}`)
    const newLink = await makeLink(app) // it is not cached yet
    Object.assign(target, { [method]: () => Promise.reject(error) })
    const answer = await upload(newLink)
    Object.assign(target, { [method]: original })
    isProblem(t, answer, 500, 'internal-error', /./, about)
    t.notMatch(answer.body, /fault|malformed/, `${about}: the response has no internals`)
    t.equal(lines.length, 1, about)
    t.match(lines[0], { level: ERROR, err: { message: error.message, stack: /log\.test\.ts/ } }, about)
    lines.length = 0
    t.equal(await staged(), 0, `${about}: no unfinished object is left`)
  }
  t.equal((await upload()).statusCode, 200, 'the next upload is accepted')
  t.strictSame(lines, [])
})

t.test('X-Forwarded-For without TRUST_PROXY is warned of once', async (t) => {
  const get = (forwarded: object) => app.inject({ url: '/livez', headers: { ...forwarded } })
  await get({})
  t.strictSame(lines, [], 'no warning without the header field')
  for (const address of ['192.0.2.1', '192.0.2.2', '192.0.2.3'])
    t.equal((await get({ 'x-forwarded-for': address })).statusCode, 200)
  t.equal(lines.length, 1)
  t.match(lines[0], { level: WARN, msg: /^X-Forwarded-For .* set TRUST_PROXY to its address\.$/ })

  lines.length = 0
  const trusting = await build(t, { LOG_LEVEL: 'warn', TRUST_PROXY: 'true' }, { imageReader }, lines)
  await trusting.inject({ url: '/livez', headers: { 'x-forwarded-for': '192.0.2.1' } })
  t.strictSame(lines, [], 'no warning with TRUST_PROXY')
})
