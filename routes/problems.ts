import { Type } from 'typebox'
import { problemDetails } from '../schemas/problem.ts'
import {
  InternalError,
  InvalidRequest,
  type Problem,
  TooLarge,
  TooManyFailedLookups,
  TooManyTokens,
  Unauthorized,
  Unavailable,
  UnsupportedMediaType,
} from '../services/errors.ts'

const retryAfter = {
  'Retry-After': Type.Integer({
    minimum: 0,
    description: 'The number of seconds to wait before the next request.',
  }),
}

type Kind = new () => Problem

/** What may be wrong with the body of a request, or with one that it should not have. */
export const ofBody: readonly Kind[] = [InvalidRequest, TooLarge, UnsupportedMediaType]

/** As `problems`, of an operation that is the admin's: the token may be missing, wrong, or one guess too many. */
export const adminProblems = (...kinds: Kind[]) =>
  problems(...kinds, TooManyFailedLookups, TooManyTokens, Unauthorized)

/**
 * The part of a response schema that tells which errors an operation may answer with, each with an example. Any may
 * meet a fault of the service's own, or a database that is away.
 */
export function problems(...kinds: Kind[]): Record<never, never> {
  const byStatus = Map.groupBy(
    [...new Set([...kinds, InternalError, Unavailable])].map((Kind) => new Kind()),
    ({ status }) => status,
  )
  return Object.fromEntries(
    [...byStatus].map(([status, all]) => [
      status,
      {
        description: all.map(({ title }) => title).join('; '),
        ...((status === 503 || status === 429) && {
          headers: retryAfter,
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
