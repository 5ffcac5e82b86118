import { Validator } from '@seriousme/openapi-schema-validator'
import t from 'tap'
import { Value } from 'typebox/value'
import { Problem } from '../../schemas/problem.ts'
import { Rejected } from '../../schemas/uploads.ts'
import { build, TOKEN } from '../helpers/app.ts'

interface Content {
  schema?: { $ref?: string; type?: string; format?: string; oneOf?: object[] }
  examples?: Record<string, { value: { status: number } }>
}

interface Schema {
  properties: Record<string, { const?: unknown }>
}

interface WithInput {
  parameters?: { in: string; name: string }[]
  requestBody?: { content: Record<string, { schema?: { $ref?: string } }> }
}

interface Operation {
  operationId?: string
  summary?: string
  description?: string
  tags?: string[]
  security?: object[]
  requestBody?: { content: Record<string, Content> }
  responses: Record<string, { description: string; content?: Record<string, Content> }>
}

t.test('the contract is OpenAPI 3.1 and describes each operation completely', async (t) => {
  const app = await build(t, { PUBLIC_URL: 'https://images.example/' })
  const answer = await app.inject('/openapi.json')
  const contract = answer.json()
  t.equal(contract.openapi, '3.1.0')
  t.strictSame(contract.servers, [{ url: 'https://images.example' }])
  const { valid, errors } = await new Validator().validate(structuredClone(contract))
  t.ok(valid, JSON.stringify(errors))

  const operations = Object.entries(contract.paths as Record<string, Record<string, Operation>>).flatMap(
    ([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({ path, method, ...operation })),
  )
  t.strictSame(operations.map(({ operationId }) => operationId).sort(), [
    'analyseImage',
    'analyseImages',
    'appendToUpload',
    'archiveImages',
    'archiveLink',
    'beginResumableUpload',
    'changeLink',
    'createLink',
    'createSession',
    'createToken',
    'deleteResumableUpload',
    'describeResumableUpload',
    'describeResumableUploads',
    'endSession',
    'exportAudit',
    'getImage',
    'getImage-head',
    'getImageContent',
    'isLive',
    'isReady',
    'isStarted',
    'listAudit',
    'listImages',
    'listLinks',
    'listTokens',
    'overrideMethod',
    'readImage',
    'readLink',
    'readMetrics',
    'readOffset-head',
    'readOperation',
    'readResumableUpload',
    'readSession',
    'readStats',
    'readStorage',
    'readUploadLink',
    'removeAllVariants',
    'removeImage',
    'removeImages',
    'removeVariants',
    'revokeLink',
    'revokeToken',
    'rotateToken',
    'signImageUrl',
    'unlockLink',
    'upload',
  ])
  for (const {
    path,
    operationId,
    summary,
    description,
    tags,
    security,
    requestBody,
    responses,
  } of operations) {
    t.ok(summary, `${operationId}: summary`)
    t.ok(description, `${operationId}: description`)
    t.equal(tags?.length, 1, `${operationId}: tag`)
    t.equal(
      security?.length,
      path.startsWith('/admin') && operationId !== 'createSession' ? 2 : 0,
      `${operationId}: security`,
    )
    for (const [type, { schema }] of Object.entries(requestBody?.content ?? {}))
      if (/json|form/.test(type)) t.ok(schema?.$ref, `${operationId}: the request has a named schema`)
    for (const [status, { description, content }] of Object.entries(responses)) {
      t.not(description, 'Default Response', `${operationId} ${status}: description`)
      if (Number(status) < 400) {
        const hasBody = !['204', '303', '304'].includes(status)
        const described = Object.values(content ?? {}).every(({ schema }) => schema)
        t.equal(content !== undefined && described, hasBody, `${operationId} ${status}: schema`)
        const json = content?.['application/json']
        if (json) t.ok(json.schema?.$ref, `${operationId} ${status}: the response has a named schema`)
        continue
      }
      const { schema, examples: named } = content?.['application/problem+json'] ?? {}
      const examples = Object.values(named ?? {})
      const schemas = schema?.oneOf ?? [schema]
      t.equal(schemas.length, examples.length, `${operationId} ${status}: each error has a schema`)
      t.ok(examples.length > 0, `${operationId} ${status}: examples`)
      for (const { value } of examples) {
        t.ok(Value.Check({ Rejected }, Problem, value), `${operationId} ${status}: is a problem`)
        t.equal(value.status, Number(status), `${operationId} ${status}: status`)
      }
    }
  }

  for (const [name, { properties }] of Object.entries(
    contract.components.schemas as Record<string, Schema>,
  )) {
    if (!name.endsWith('Problem')) continue
    t.match(
      properties.type?.const,
      /^(urn:hasty:problem:|https:\/\/iana\.org\/assignments\/http-problem-types#)[a-z-]+$/,
      `${name} has a type of its own`,
    )
    t.match(properties.status?.const, Number, `${name} has its status`)
  }

  const page = await app.inject('/docs')
  t.equal(page.statusCode, 200)
  t.match(page.headers['content-type'], /^text\/html/)
})

t.test('each operation answers a body that it does not expect as the contract says', async (t) => {
  const app = await build(t)
  const { paths } = (await app.inject('/openapi.json')).json() as { paths: Record<string, object> }
  const bodies = [
    { headers: { 'content-type': 'x' }, payload: 'x' },
    { headers: { 'content-type': '' }, payload: 'x' },
    { headers: { 'content-type': 'text/unknown' }, payload: 'x' },
    { headers: { 'content-type': 'application/json' }, payload: '{' },
    { headers: { 'content-type': 'application/json', 'content-encoding': 'gzip' }, payload: '{}' },
    { headers: { 'content-type': 'application/json' }, payload: JSON.stringify('x'.repeat(2 ** 21)) },
    { headers: { 'content-type': 'multipart/form-data; boundary=x' }, payload: '--x' },
  ]
  for (const [path, methods] of Object.entries(paths)) {
    for (const method of Object.keys(methods)) {
      for (const body of bodies) {
        const answer = await app.inject({
          ...body,
          method: method.toUpperCase() as 'POST',
          url: path.replaceAll(/\{\w+\}/g, 'abcdefghijklmnopqrstu'),
          headers: { 'x-access-token': TOKEN, ...body.headers },
        })
        // build() compares each response with the contract.
        t.ok(
          answer.statusCode < 500,
          `${method} ${path} with ${body.headers['content-type']}: ${answer.statusCode}`,
        )
      }
    }
  }
})

t.test('no text in a query or a body can contain NUL, which databases do not accept', async (t) => {
  const app = await build(t)
  const { paths, components } = (await app.inject('/openapi.json')).json() as {
    paths: Record<string, object>
    components: { schemas: Record<string, { properties?: object }> }
  }
  const call = (method: string, path: string, rest: object) =>
    app.inject({
      method: method.toUpperCase() as 'POST',
      url: path.replaceAll(/\{\w+\}/g, '%00'),
      headers: { 'x-access-token': TOKEN },
      ...rest,
    })
  for (const [path, methods] of Object.entries(paths)) {
    for (const [method, { parameters = [], requestBody }] of Object.entries<WithInput>({ ...methods })) {
      const byName = parameters
        .filter((each) => each.in === 'query')
        .map(({ name }) => ({ query: { [name]: '\0' } }))
      const { $ref = '' } = requestBody?.content['application/json']?.schema ?? {}
      const properties = components.schemas[$ref.slice('#/components/schemas/'.length)]?.properties ?? {}
      const byField = Object.keys(properties).map((name) => ({ body: { [name]: '\0', sinceNow: 'PT1H' } }))
      for (const rest of [...byName, ...byField]) {
        const { statusCode } = await call(method, path, rest)
        t.ok(
          statusCode >= 200 && statusCode < 500,
          `${method} ${path} ${JSON.stringify(rest)}: ${statusCode}`,
        )
      }
    }
  }
})
