import { type Static, Type } from 'typebox'
import { Id } from './ids.ts'
import { ImageStatus } from './images.ts'
import { page } from './pages.ts'
import { Region } from './regions.ts'
import { LINE } from './text.ts'

const label = Type.String({
  minLength: 1,
  maxLength: 200,
  pattern: LINE,
  description: 'a name for the admin, without control characters',
  examples: ['Wedding of Ada and Charles'],
})
const maxImages = Type.Integer({
  minimum: 1,
  maximum: Number.MAX_SAFE_INTEGER,
  description: 'how many parts the link takes in, duplicates included',
})
const maxBytes = Type.Integer({
  minimum: 1,
  maximum: Number.MAX_SAFE_INTEGER,
  description: 'how many bytes the link takes in, duplicates included',
})

export const NewLink = Type.Object(
  {
    sinceNow: Type.Optional(
      Type.String({
        maxLength: 100,
        description:
          'an ISO 8601 duration from now, on the calendar in UTC. With both, it wins where it parses; ' +
          'only the last of its hours, minutes and seconds may have a fraction',
        examples: ['PT1H'],
      }),
    ),
    timeExact: Type.Optional(
      Type.String({ maxLength: 100, description: 'an RFC 3339 instant', examples: ['2026-12-01T00:00:00Z'] }),
    ),
    label: Type.Optional(label),
    region: Type.Optional(Region),
    maxImages: Type.Optional(maxImages),
    maxBytes: Type.Optional(maxBytes),
  },
  { $id: 'NewLink', additionalProperties: false, examples: [{ sinceNow: 'PT1H' }] },
)
export type NewLink = Static<typeof NewLink>

export const CreatedLink = Type.Object(
  {
    relativePath: Type.String({
      description: 'where to post images',
      examples: ['/uploads/Vd0GtqSUWC3UzXiRwcbKgJ9bQdvHqLkEYoV1WnTFpzA5xmNs'],
    }),
    expiresOn: Type.String({ format: 'date-time', examples: ['2026-12-01T00:00:00.000Z'] }),
  },
  { $id: 'CreatedLink', description: 'the link was made; `Location` is where it is read and revoked' },
)

const link = {
  id: Id,
  label: Type.Optional(label),
  region: Type.Optional(Region),
  status: Type.Enum(['open', 'expired', 'revoked', 'used_up']),
  createdAt: Type.String({ format: 'date-time' }),
  expiresOn: Type.String({ format: 'date-time' }),
  revokedAt: Type.Optional(Type.String({ format: 'date-time' })),
  maxImages: Type.Optional(maxImages),
  maxBytes: Type.Optional(maxBytes),
  uploads: Type.Integer({ minimum: 0, description: 'parts taken in, duplicates included' }),
  bytes: Type.Integer({ minimum: 0, description: 'bytes taken in, duplicates included' }),
}

export const Link = Type.Object(link, { $id: 'Link', description: 'an ephemeral link' })
export type Link = Static<typeof Link>

export const LinkPage = page(Type.Ref('Link'), { $id: 'LinkPage' })

export const Upload = Type.Object(
  {
    imageId: Id,
    name: Type.Optional(Type.String({ description: "the sender's file name" })),
    size: Type.Integer({ minimum: 1, description: 'bytes' }),
    duplicate: Type.Boolean({ description: 'the image was known before' }),
    status: ImageStatus,
    receivedAt: Type.String({ format: 'date-time' }),
  },
  { $id: 'Upload' },
)
export type Upload = Static<typeof Upload>

export const LinkWithUploads = Type.Object(
  { ...link, received: page(Upload, { $id: 'UploadPage' }) },
  { $id: 'LinkWithUploads', description: 'the link, and what came in by it' },
)
