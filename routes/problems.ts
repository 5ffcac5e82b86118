import { Type } from 'typebox'
import { problemDetails } from '../schemas/problem.ts'
import { InternalError, type Problem } from '../services/errors.ts'

/**
 * The part of a response schema that tells which errors an operation may answer with, each with an example. Any may
 * meet a fault of the service's own.
 */
export function problems(...kinds: (new () => Problem)[]): Record<never, never> {
  const byStatus = Map.groupBy(
    [...kinds, InternalError].map((Kind) => new Kind()),
    ({ status }) => status,
  )
  return Object.fromEntries(
    [...byStatus].map(([status, all]) => [
      status,
      {
        description: all.map(({ title }) => title).join('; '),
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
