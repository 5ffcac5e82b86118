import { Type } from 'typebox'
import { problemDetails } from '../schemas/problem.ts'
import { InternalError, type Problem, Unavailable } from '../services/errors.ts'

/**
 * The part of a response schema that tells which errors an operation may answer with, each with an example. Any may
 * meet a fault of the service's own, or a database that is away.
 */
export function problems(...kinds: (new () => Problem)[]): Record<never, never> {
  const byStatus = Map.groupBy(
    [...new Set([...kinds, InternalError, Unavailable])].map((Kind) => new Kind()),
    ({ status }) => status,
  )
  return Object.fromEntries(
    [...byStatus].map(([status, all]) => [
      status,
      {
        description: all.map(({ title }) => title).join('; '),
        ...(status === 503 && {
          headers: { 'Retry-After': { schema: Type.Integer(), description: 'seconds' } },
        }),
        content: {
          'application/problem+json': {
            schema: Type.Ref('Problem'),
            examples: Object.fromEntries(
              all.map((each) => [each.name, { summary: each.title, value: problemDetails(each) }]),
            ),
          },
        },
      },
    ]),
  )
}
