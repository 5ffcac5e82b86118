import {
  type Serializer,
  type SerializerFactory,
  SerializerSelector,
} from '@fastify/fast-json-stringify-compiler'

// The serializers of each set of shared schemas and options, by the schema.
const compiled = new Map<string, Map<string, Serializer>>()

/**
 * Makes the serializers of responses, one for each schema. To compile a schema takes almost a millisecond, and of 600
 * responses only 40 have different schemas, because every route can answer with problem details. The apps of one process
 * share the serializers.
 */
export const buildSerializer: SerializerFactory = (shared, options) => {
  const compile = SerializerSelector()(shared, options)
  const serializers = serializersFor(JSON.stringify([shared, options]))
  return (route) => {
    const key = JSON.stringify(route.schema)
    const serializer = serializers.get(key) ?? compile(route)
    serializers.set(key, serializer)
    return serializer
  }
}

function serializersFor(key: string) {
  const serializers = compiled.get(key) ?? new Map<string, Serializer>()
  compiled.set(key, serializers)
  return serializers
}
