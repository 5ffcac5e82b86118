import type { Rejected, RejectionReason } from '../../schemas/uploads.ts'
import { StoreFull } from '../../stores/objects/object-store.ts'
import * as errors from '../errors.ts'
import { type Problem, Rejection } from '../errors.ts'

type Kind = new (options: { rejected: Rejected[]; detail?: string }) => Problem

const kinds: Record<RejectionReason, Kind> = {
  not_an_image: errors.NoImage,
  not_accepted: errors.NotAccepted,
  empty: errors.NoImage,
  too_large: errors.TooLarge,
  too_many_files: errors.TooLarge,
  digest_mismatch: errors.DigestMismatch,
  malformed: errors.MalformedMultipart,
  unsupported_encoding: errors.UnsupportedTransferEncoding,
  incomplete: errors.MalformedMultipart,
  insufficient_storage: errors.InsufficientStorage,
  link_used_up: errors.LinkUsedUp,
  link_expired: errors.LinkExpired,
  link_revoked: errors.LinkRevoked,
  busy: errors.Busy,
}

/** Why an error makes a part rejected. @throws the error itself, if it fails the whole request */
export function reasonOf(error: unknown): RejectionReason {
  if (error instanceof Rejection) return error.reason
  if (error instanceof StoreFull) return 'insufficient_storage'
  if (error instanceof errors.LinkUsedUp) return 'link_used_up'
  if (error instanceof errors.LinkExpired) return 'link_expired'
  if (error instanceof errors.LinkRevoked) return 'link_revoked'
  throw error
}

/**
 * The problem of a request of which no part was accepted: that of the reason that all parts share, or `NoImage`.
 *
 * @param limits a sentence with the limits, for the detail of `TooLarge`
 */
export function problemOf(rejected: Rejected[], limits: string): Problem {
  const found = new Set(rejected.map(({ reason }) => kinds[reason]))
  const [first = errors.NoImage] = found
  const Kind = found.size === 1 ? first : errors.NoImage
  return new Kind(Kind === errors.TooLarge ? { rejected, detail: limits } : { rejected })
}
