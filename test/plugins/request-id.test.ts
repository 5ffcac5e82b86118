import t from 'tap'
import { build, imageReader } from '../helpers/app.ts'

interface Line {
  requestId?: string
  msg: string
}

const lines: Line[] = []
const app = await build(t, { LOG_LEVEL: 'info' }, { imageReader }, lines)
const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'

async function requestIdOf(headers: Record<string, string>) {
  lines.length = 0
  const answer = await app.inject({ url: `/images/${'A'.repeat(48)}`, headers })
  const { requestId } = answer.json()
  t.equal(answer.headers['x-request-id'], requestId, 'the header field and the body have the same id')
  await new Promise(setImmediate)
  t.ok(lines.length > 0)
  for (const line of lines) t.equal(line.requestId, requestId, `each line of the log has it: ${line.msg}`)
  return requestId
}

t.test('a problem and the lines of its request have the id that the client sent', async (t) => {
  t.equal(await requestIdOf({ 'x-request-id': 'order-4711.a_b' }), 'order-4711.a_b')
  t.equal(await requestIdOf({ traceparent: `00-${TRACE}-00f067aa0ba902b7-01` }), TRACE)
  t.equal(
    await requestIdOf({ traceparent: `00-${TRACE}-00f067aa0ba902b7-01`, 'x-request-id': 'other' }),
    TRACE,
  )
})

t.test('an invalid id is replaced by a new one', async (t) => {
  const invalid = [
    '',
    'a'.repeat(65),
    'A'.repeat(48),
    'with space',
    'quote"',
    '\u001b[31mred',
    'läuft',
    '-begins-with-hyphen',
    '{"level":60}',
  ]
  const ids = new Set<string>()
  for (const id of invalid) {
    const made = await requestIdOf({ 'x-request-id': id })
    t.match(made, /^[0-9a-f]{8}-[0-9a-z]+$/, JSON.stringify(id))
    ids.add(made)
  }
  t.equal(ids.size, invalid.length, 'each request has its own id')
  for (const traceparent of [
    `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`,
    `01-${TRACE}-00f067aa0ba902b7-01`,
    TRACE,
  ])
    t.match(await requestIdOf({ traceparent }), /^[0-9a-f]{8}-/)
})

t.test('a URL that cannot be decoded gets a problem with an id', async (t) => {
  const answer = await app.inject({ url: '/images/abc%zz', headers: { 'x-request-id': 'given' } })
  t.equal(answer.statusCode, 400)
  t.equal(answer.json().requestId, 'given')
})
