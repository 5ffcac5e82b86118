import { Type } from 'typebox'

// The header fields of responses for the contract.

const etag = {
  ETag: Type.String({
    description: 'The entity tag of these bytes, for If-None-Match and If-Match (RFC 9110 §8.8.3).',
    examples: ['"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"'],
  }),
  'Cache-Control': Type.String({ description: 'How long a cache may serve the image without revalidation.' }),
}

/** The fields of a 304. */
export const notModifiedFields = etag

/** The fields of a 200 with an image. */
export const imageFields = {
  ...etag,
  'Last-Modified': Type.String({
    description: 'The time at which the image was received (RFC 9110 §8.8.2).',
  }),
  'Content-Disposition': Type.String({
    description: 'A file name made from the id, with the extension of the format.',
  }),
  'Accept-Ranges': Type.String({ description: '`bytes`: the service answers requests for a range.' }),
}

/** The fields of a 206. */
export const rangeFields = {
  ...imageFields,
  'Content-Range': Type.String({
    description: 'The range that is sent, and the size of the image in bytes (RFC 9110 §14.4).',
    examples: ['bytes 0-99/1234'],
  }),
}

export const locationField = {
  Location: Type.String({ description: 'The URL at which the admin reads and revokes the link.' }),
}

export const cookieField = {
  'Set-Cookie': Type.String({
    description: "The cookie of the console's session: HttpOnly, SameSite=Strict.",
  }),
}

export const retryAfterField = {
  'Retry-After': Type.Integer({
    minimum: 0,
    description: 'The number of seconds to wait before the next request.',
  }),
}
