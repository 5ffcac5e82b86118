// biome-ignore lint/suspicious/noExplicitAny: a part of an OpenAPI document, whose shape depends on its place
type Part = any

interface Document {
  paths?: Record<string, Record<string, Part>>
  components?: { schemas?: Record<string, Part> }
}

const METHODS = ['get', 'head', 'post', 'put', 'patch', 'delete', 'options']
const PROBLEM = 'application/problem+json'

// @fastify/swagger drops the `$id` of a body or a response.
const NAME = 'x-name'

/** For @fastify/swagger: prepares the schema of a route, so that `completeDocument` finds the names of its parts. */
export const keepNames = <T extends { schema: object }>({ schema, ...route }: T) => ({
  ...route,
  schema: renameIds(schema),
})

function renameIds(part: Part): Part {
  if (Array.isArray(part)) return part.map(renameIds)
  if (typeof part !== 'object' || part === null) return part
  return Object.fromEntries(
    Object.entries(part).map(([key, value]) => (key === '$id' ? [NAME, value] : [key, renameIds(value)])),
  )
}

/**
 * Completes the OpenAPI document that @fastify/swagger makes of the routes, so that generators make good clients of it:
 * a schema with `$id` becomes a component, each error a schema with a `type` of its own, and a public operation says
 * that it needs no token.
 */
export function completeDocument<T extends object>(document: T): T {
  const { paths = {}, components = {} } = document as Document
  const schemas: Record<string, Part> = {}
  for (const [name, schema] of Object.entries(components.schemas ?? {})) {
    // The plugin keeps the id of a shared schema as its title.
    const { title: _, $id: __, ...content } = schema
    schemas[name] = nameSchemas(content, schemas)
  }
  const completed = nameSchemas(paths, schemas)
  for (const operation of operationsOf(completed)) {
    operation.security ??= []
    for (const { content } of Object.values<Part>(operation.responses))
      if (content?.[PROBLEM]) content[PROBLEM].schema = problemSchema(content[PROBLEM].examples, schemas)
  }
  // Each error has its own schema, made from this one.
  delete schemas.Problem
  const sorted = Object.fromEntries(Object.entries(schemas).sort(([a], [b]) => a.localeCompare(b, 'en')))
  return { ...document, paths: completed, components: { ...components, schemas: sorted } }
}

function* operationsOf(paths: Record<string, Record<string, Part>>) {
  for (const path of Object.values(paths)) for (const method of METHODS) if (path[method]) yield path[method]
}

/** Copies a part of the document. Each schema in it that has a name is added to `schemas` and replaced by a reference. */
function nameSchemas(part: Part, schemas: Record<string, Part>): Part {
  if (Array.isArray(part)) return part.map((item) => nameSchemas(item, schemas))
  if (typeof part !== 'object' || part === null) return part
  const { [NAME]: name, ...rest } = part
  const copy = Object.fromEntries(
    Object.entries(rest).map(([key, value]) => [key, nameSchemas(value, schemas)]),
  )
  if (typeof name !== 'string') return copy
  schemas[name] ??= copy
  return { $ref: `#/components/schemas/${name}` }
}

/** The schema of the errors that an operation can answer with one status: one of the named ones of its examples. */
function problemSchema(examples: Record<string, { value: Part }>, schemas: Record<string, Part>) {
  const references = Object.entries(examples).map(([kind, { value }]) => {
    const name = `${kind}Problem`
    schemas[name] ??= {
      ...schemas.Problem,
      description: value.title,
      properties: {
        ...schemas.Problem.properties,
        type: { type: 'string', const: value.type },
        status: { type: 'integer', const: value.status },
      },
    }
    return [value.type, `#/components/schemas/${name}`] as const
  })
  if (references.length === 1) return { $ref: references[0]![1] }
  return {
    oneOf: references.map(([, $ref]) => ({ $ref })),
    discriminator: { propertyName: 'type', mapping: Object.fromEntries(references) },
  }
}
