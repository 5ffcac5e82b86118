import { Type } from 'typebox'
import { retryAfterField } from '../schemas/header-fields.ts'
import { problemDetails } from '../schemas/problem.ts'
import {
  Busy,
  DigestMismatch,
  ForeignOrigin,
  HeadersTooLarge,
  InsufficientStorage,
  InternalError,
  InvalidRequest,
  InvalidSender,
  LinkExpired,
  LinkNotFound,
  LinkNotOpen,
  LinkRevoked,
  LinkUsedUp,
  MissingScope,
  NoImage,
  NotAccepted,
  PasswordRequired,
  type Problem,
  SenderRequired,
  TooLarge,
  TooManyFailedLookups,
  TooManyTokens,
  TooManyUploads,
  Unauthorized,
  Unavailable,
  UnsupportedContentEncoding,
  UnsupportedMediaType,
  WrongPassword,
} from '../services/errors.ts'

type Kind = new () => Problem

/** The problems of a request body, also of one that is sent but not expected. */
export const ofBody: readonly Kind[] = [
  InvalidRequest,
  TooLarge,
  UnsupportedContentEncoding,
  UnsupportedMediaType,
]

/** The problems of an image that is sent by a link, in one request or in several. */
export const ofImage: readonly Kind[] = [
  InvalidRequest,
  DigestMismatch,
  InvalidSender,
  SenderRequired,
  PasswordRequired,
  WrongPassword,
  LinkNotFound,
  LinkNotOpen,
  LinkExpired,
  LinkRevoked,
  LinkUsedUp,
  TooLarge,
  NoImage,
  NotAccepted,
  InsufficientStorage,
  TooManyFailedLookups,
  TooManyUploads,
  Busy,
  UnsupportedContentEncoding,
]

/** Like `problems`, for the admin's operations: it adds the problems of the access token and of the console's cookie. */
export const adminProblems = (...kinds: Kind[]) =>
  problems(...kinds, ForeignOrigin, MissingScope, TooManyFailedLookups, TooManyTokens, Unauthorized)

/**
 * The part of a response schema that lists the errors of an operation, each with an example. Header fields that are too
 * large, internal errors and an unavailable store are added to every operation.
 */
export function problems(...kinds: Kind[]): Record<never, never> {
  const byStatus = Map.groupBy(
    [...new Set([...kinds, HeadersTooLarge, InternalError, Unavailable])].map((Kind) => new Kind()),
    ({ status }) => status,
  )
  return Object.fromEntries(
    [...byStatus].map(([status, all]) => [
      status,
      {
        description: all.map(({ title }) => title).join('; '),
        ...((status === 503 || status === 429) && { headers: retryAfterField }),
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
