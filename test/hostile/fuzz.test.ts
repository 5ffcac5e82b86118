import fc, { type Arbitrary } from 'fast-check'
import type { InjectOptions } from 'fastify'
import t from 'tap'
import { buildApp } from '../../app.ts'
import { readConfig } from '../../config.ts'
import { createLog } from '../../process/log.ts'
import { makeLink, TOKEN } from '../helpers/app.ts'
import { character, type Schema, valid, wild } from '../helpers/arbitraries.ts'
import { watchContract } from '../helpers/contract.ts'
import { dataDirWithLentDatabase } from '../helpers/embedded.ts'
import { makeImage } from '../helpers/images.ts'
import { multipart, type TestPart } from '../helpers/multipart.ts'
import { seed, times } from '../helpers/tiers.ts'

// npm run test:campaign makes many requests. Give the seed of a run to repeat it.
const count = times(250, 20_000)
t.setTimeout(0)

interface Parameter {
  name: string
  in: string
  schema: Schema
}
interface Operation {
  operationId: string
  parameters?: Parameter[]
  requestBody?: { content: Record<string, { schema: Schema }> }
}
interface Contract {
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, Schema> }
}

const DATA_DIR = await dataDirWithLentDatabase(t)
const config = readConfig({
  ACCESS_TOKEN: TOKEN,
  DATA_DIR,
  // `eu` is the example of the contract.
  OBJECT_STORE_URL: `file://${DATA_DIR}/objects`,
  OBJECT_STORE_URLS: `eu=file://${DATA_DIR}/eu`,
  LOG_LEVEL: 'silent',
  GUESS_LIMIT: '0',
  MAX_FILE_SIZE: '20000B',
  MAX_FILES: '4',
})
const app = buildApp(config, createLog(config, 'test'), { attach: true })
const faults = watchContract(app)
t.teardown(() => app.close())
await app.ready()

const contract: Contract = (await app.inject('/openapi.json')).json()
const find = (ref: string) => contract.components.schemas[ref.split('/').at(-1)!]!
const operations = Object.entries(contract.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method, ...operation })),
)

const idOf = (relativePath: string) => relativePath.slice('/uploads/'.length)
/** Ids of links and images that there are, or were: as many as the requests have made. */
const made = { links: [idOf(await makeLink(app))], images: [] as string[] }
/** An index into them, since what there is is known only when a request is made. */
type Id = { known: number } | { text: unknown }
const id: Arbitrary<Id> = fc.oneof(
  { weight: 4, arbitrary: fc.nat().map((known) => ({ known })) },
  { weight: 1, arbitrary: fc.stringMatching(/^[0-9A-Za-z]{48}$/).map((text) => ({ text })) },
  { weight: 1, arbitrary: wild.map((text) => ({ text })) },
)
const textOf = (value: Id, path: string) => {
  const ids = /images/.test(path) ? made.images : made.links
  return String('known' in value ? (ids[value.known % ids.length] ?? 'x') : value.text).toWellFormed()
}

const images = [
  await makeImage('png'),
  await makeImage('jpeg', { model: 'Box 1' }),
  await makeImage('webp'),
  await makeImage('gif'),
  Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>'),
]
const fileBytes = fc.oneof(
  { weight: 3, arbitrary: fc.nat().map((n) => images[n % images.length]!) },
  // Another content each time.
  fc
    .tuple(fc.nat(), fc.uint8Array({ maxLength: 50 }))
    .map(([n, tail]) => Buffer.concat([images[n % images.length]!, tail])),
  fc.tuple(fc.nat(), fc.nat(400)).map(([n, end]) => images[n % images.length]!.subarray(0, end)),
  fc.uint8Array({ maxLength: 30_000 }).map((bytes) => Buffer.from(bytes)),
)
const fieldText = fc.string({ unit: character, maxLength: 100 })
const part: Arbitrary<TestPart> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ body: fileBytes }) },
  fc.record({ body: fileBytes, name: fieldText, filename: fieldText, type: fieldText }),
  fc.record({ body: fileBytes, headers: fc.dictionary(fieldText, fieldText, { maxKeys: 5 }) }),
  fc.record({
    body: fileBytes,
    headers: fieldText.map((digest) => ({
      'Content-Disposition': 'form-data; name="a"',
      'Content-Digest': digest,
    })),
  }),
)
const upload = fc
  .tuple(
    fc.array(part, { maxLength: 6 }),
    fc.constantFrom(undefined, '', '--the-boundary', '--another--\r\n'),
  )
  .map(([parts, end]) => multipart(parts, end === undefined ? {} : { end }))

/** Most of the time what the schema takes, and now and then what it does not. */
const mostly = (schema: Schema) =>
  fc.oneof({ weight: 9, arbitrary: valid(schema, find) }, { weight: 1, arbitrary: wild })

function bodyOf({ requestBody }: Operation): Arbitrary<Pick<InjectOptions, 'headers' | 'payload'>> {
  const content = requestBody?.content ?? {}
  const raw = fc
    .tuple(
      fc.constantFrom('application/json', 'text/plain', 'multipart/form-data; boundary=x', 'x', ''),
      fc.uint8Array({ maxLength: 200 }),
    )
    .map(([type, bytes]) => ({ headers: { 'content-type': type }, payload: Buffer.from(bytes) }))
  if (content['multipart/form-data']) return fc.oneof({ weight: 6, arbitrary: upload }, raw)
  const given = content['application/json']?.schema
  const schema = given?.$ref ? find(given.$ref) : given
  if (!schema) return fc.oneof({ weight: 8, arbitrary: fc.constant({}) }, raw)
  // Each field by itself valid or not, and some that nobody knows.
  const fields = Object.fromEntries(
    Object.entries(schema.properties ?? {}).map(([name, each]) => [name, mostly(each)]),
  )
  const value = fc.oneof(
    { weight: 4, arbitrary: valid(schema, find) },
    { weight: 4, arbitrary: fc.record(fields, { requiredKeys: [] }) },
    { weight: 1, arbitrary: fc.dictionary(fc.string(), wild) },
    { weight: 1, arbitrary: wild },
  )
  const json = value.map((value) => ({
    headers: { 'content-type': 'application/json' },
    payload: JSON.stringify(value) ?? '',
  }))
  return fc.oneof({ weight: 8, arbitrary: json }, raw)
}

const conditions = fc.dictionary(
  fc.constantFrom(
    'range',
    'if-none-match',
    'if-match',
    'if-range',
    'if-modified-since',
    'accept',
    'origin',
    'x-forwarded-for',
  ),
  fc.oneof(
    fc.constantFrom(
      '*',
      'bytes=0-',
      'bytes=-1',
      'bytes=5-2',
      'bytes=0-0,2-3',
      'bytes=99999999999999999999-',
      '"x"',
      'W/"x"',
    ),
    fc.stringMatching(/^[\x20-\x7e]{0,60}$/),
  ),
  { maxKeys: 2 },
)
const token = fc.oneof(
  { weight: 12, arbitrary: fc.constant(TOKEN) },
  fc.constantFrom('', 'wrong', `${TOKEN},${TOKEN}`),
)

/** A few of the parameters, as all of them together hardly ever find anything. */
function queryOf({ parameters = [] }: Operation) {
  // The values are made here, because an arbitrary of a pattern takes a millisecond to make.
  const values = parameters
    .filter((parameter) => parameter.in === 'query')
    .map(({ name, schema }): [string, Arbitrary<unknown>] => [
      name,
      name === 'link' ? id.map((value) => textOf(value, 'links')) : mostly(schema),
    ])
  return fc
    .subarray(values, { maxLength: Math.min(3, values.length) })
    .chain((some) => fc.record(Object.fromEntries(some)))
}

const requestOf = ({ path, method, ...operation }: (typeof operations)[number]) =>
  fc.record({
    operation: fc.constant(operation.operationId),
    method: fc.constant(method.toUpperCase() as 'GET' | 'POST'),
    path: fc.constant(path),
    id,
    query: queryOf(operation as Operation),
    extra: fc.oneof(
      { weight: 20, arbitrary: fc.constant({}) },
      fc.dictionary(fc.string(), wild, { maxKeys: 2 }),
    ),
    token,
    conditions,
    body: bodyOf(operation as Operation),
  })

// More is to be made than removed, so that there is something to ask for.
const weights: Record<string, number> = {
  createLink: 4,
  upload: 6,
  getImage: 4,
  revokeLink: 1,
  removeImage: 1,
  isLive: 1,
  isReady: 1,
  isStarted: 1,
  readMetrics: 1,
}

// Where a fault of the service's own would show: a path, a stack, a statement.
const INSIDE =
  /node_modules|\.ts:\d|\bat \w+ \(|\/(tmp|home|root|work|usr)\/|\bselect .+ from\b|\binsert into\b|ECONN|ENOENT|sqlstate/i

const statuses = new Map<string, Map<number, number>>()

t.test('every response to a generated request follows the contract', async (t) => {
  t.comment(`${count} requests, seed ${seed}`)
  const encode = (value: unknown) =>
    encodeURIComponent((typeof value === 'string' ? value : (JSON.stringify(value) ?? '')).toWellFormed())
  const request = fc.oneof(
    ...operations.map((operation) => ({
      weight: weights[operation.operationId] ?? 2,
      arbitrary: requestOf(operation),
    })),
  )
  await fc.assert(
    fc.asyncProperty(
      request,
      async ({ operation, method, path, id, query, extra, token, conditions, body }) => {
        const search = Object.entries({ ...query, ...extra }).map(
          ([name, value]) => `${encode(name)}=${encode(value)}`,
        )
        const answer = await app.inject({
          ...body,
          method,
          url:
            path.replace('{id}', encode(textOf(id, path))) +
            (search.length > 0 ? `?${search.join('&')}` : ''),
          headers: { ...conditions, 'x-access-token': token, ...body.headers },
        })
        const { statusCode } = answer
        const seen = statuses.get(operation) ?? new Map<number, number>()
        statuses.set(operation, seen.set(statusCode, (seen.get(statusCode) ?? 0) + 1))
        if (statusCode >= 500 || faults.length > 0 || (statusCode >= 400 && INSIDE.test(answer.body)))
          throw new Error(`${statusCode} ${answer.body.slice(0, 500)} ${faults.splice(0).join()}`)
        if (operation === 'createLink' && statusCode === 201)
          made.links.push(idOf(answer.json().relativePath))
        if (operation === 'upload' && statusCode === 200)
          for (const { id } of answer.json().processed) made.images.push(id)
      },
    ),
    { numRuns: count, seed, endOnFailure: false },
  )
  const summary = [...statuses].map(
    ([operation, seen]) => `${operation} ${JSON.stringify(Object.fromEntries(seen))}`,
  )
  t.comment(summary.join('\n'))
  t.equal(statuses.size, operations.length, 'each operation was asked for')
  t.ok(statuses.get('upload')?.get(200) && statuses.get('getImage')?.get(200), 'and some of it went well')
})
