import { Value } from 'typebox/value'
import type { buildApp } from '../../app.ts'
import { Image } from '../../schemas/images.ts'
import { Link } from '../../schemas/links.ts'
import { Problem } from '../../schemas/problem.ts'
import { Rejected } from '../../schemas/uploads.ts'

const shared = { Rejected, Problem, Image, Link }

type Contract = Record<string, Record<string, { responses: Record<string, object> }>>

/** The statuses of each operation that an app of this process has documented. To make the document takes 50 ms. */
const documented = new Set<string>()

/**
 * Compares every answer of an app with its contract: the status is one that /openapi.json has for the operation, JSON
 * is as its schema says, and an error is problem details. Call it before the app is ready.
 *
 * @returns the deviations, which are added when they are found
 */
export function watchContract(app: ReturnType<typeof buildApp>): string[] {
  const faults: string[] = []
  app.addHook('onSend', async (request, reply, payload) => {
    const { method, url = '', schema } = request.routeOptions
    const { statusCode } = reply
    const fault = (what: string) => faults.push(`${method} ${url || 'no route'} ${statusCode}: ${what}`)
    const type = String(reply.getHeader('content-type') ?? '')

    if (statusCode >= 400 && request.wantsPage()) {
      if (!type.startsWith('text/html')) fault(`an error page of type ${type}`)
    } else if (statusCode >= 400) {
      if (!type.startsWith('application/problem+json')) fault(`an error of type ${type}`)
      else if (typeof payload === 'string' && !isProblem(payload, statusCode))
        fault(`no problem details: ${payload}`)
    }
    const hidden = !url || (schema as { hide?: boolean } | undefined)?.hide
    if (hidden) return payload
    const key = `${method} ${url} ${statusCode}`
    if (!documented.has(key)) {
      const { paths } = app.swagger() as unknown as { paths: Contract }
      const operation = paths[url.replace(/:(\w+)/g, '{$1}')]?.[String(method).toLowerCase()]
      // The contract does not describe a HEAD that Fastify adds to a GET.
      if (method === 'HEAD' && !operation) return payload
      if (operation?.responses[statusCode]) documented.add(key)
      else fault('not in the contract')
    }

    const expected = jsonSchema(schema?.response, statusCode)
    if (type.startsWith('application/json') && expected && 'type' in expected) {
      const value: unknown = JSON.parse(String(payload))
      if (!Value.Check(shared, expected, value)) fault(`not as its schema says: ${payload}`)
    }
    return payload
  })
  return faults
}

interface Response {
  content?: Record<string, { schema: object }>
}

/** The schema of a JSON response, which may be one of several media types. */
function jsonSchema(responses: unknown, statusCode: number): object | undefined {
  const response = (responses as Record<number, Response> | undefined)?.[statusCode]
  return response?.content ? response.content['application/json']?.schema : response
}

function isProblem(body: string, statusCode: number) {
  const problem: unknown = JSON.parse(body)
  return Value.Check(shared, Problem, problem) && problem.status === statusCode
}
