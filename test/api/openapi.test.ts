import { Validator } from '@seriousme/openapi-schema-validator'
import t from 'tap'
import { build } from '../helpers/app.ts'

interface Operation {
  operationId?: string
  summary?: string
  tags?: string[]
  security?: object[]
  responses: Record<string, { description: string; content?: Record<string, { examples?: object }> }>
}

t.test('the contract is OpenAPI 3.1, and tells all of each operation', async (t) => {
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
    'createLink',
    'getImage',
    'getImage-head',
    'isLive',
    'isReady',
    'listImages',
    'listLinks',
    'readImage',
    'readLink',
    'readMetrics',
    'readStats',
    'removeImage',
    'revokeLink',
    'upload',
  ])
  for (const { path, operationId, summary, tags, security, responses } of operations) {
    t.ok(summary, `${operationId}: summary`)
    t.equal(tags?.length, 1, `${operationId}: tag`)
    t.equal(Boolean(security), path.startsWith('/admin'), `${operationId}: security`)
    for (const [status, { description, content }] of Object.entries(responses)) {
      t.not(description, 'Default Response', `${operationId} ${status}: description`)
      if (Number(status) < 400) continue
      t.ok(content?.['application/problem+json']?.examples, `${operationId} ${status}: examples`)
    }
  }

  const page = await app.inject('/docs')
  t.equal(page.statusCode, 200)
  t.match(page.headers['content-type'], /^text\/html/)
})
