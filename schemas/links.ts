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
  description: 'A name that only the admin sees. Control characters are not allowed.',
  examples: ['Wedding of Ada and Charles'],
})
const maxImages = Type.Integer({
  minimum: 1,
  maximum: Number.MAX_SAFE_INTEGER,
  description: 'The number of images that the link accepts, including duplicates.',
})
const maxBytes = Type.Integer({
  minimum: 1,
  maximum: Number.MAX_SAFE_INTEGER,
  description: 'The number of bytes that the link accepts, including duplicates.',
})

const isPrivate = Type.Boolean({
  description:
    'true: the images that arrive by the link are private. Only a request with an access token or a signed URL gets them.',
})
const stripMetadata = Type.Boolean({
  description: 'true: the images that arrive by the link are served without Exif, XMP and IPTC.',
})

export const NewLink = Type.Object(
  {
    sinceNow: Type.Optional(
      Type.String({
        maxLength: 100,
        description:
          'An ISO 8601 duration from now, in the UTC calendar. Only the last of hours, minutes and seconds may have a ' +
          'fraction. If `timeExact` is also given, a valid `sinceNow` takes precedence.',
        examples: ['PT1H'],
      }),
    ),
    timeExact: Type.Optional(
      Type.String({
        maxLength: 100,
        description: 'The expiry, as an RFC 3339 date and time.',
        examples: ['2026-12-01T00:00:00Z'],
      }),
    ),
    label: Type.Optional(label),
    region: Type.Optional(Region),
    maxImages: Type.Optional(maxImages),
    maxBytes: Type.Optional(maxBytes),
    private: Type.Optional(isPrivate),
    stripMetadata: Type.Optional(stripMetadata),
  },
  { $id: 'NewLink', additionalProperties: false, examples: [{ sinceNow: 'PT1H' }] },
)
export type NewLink = Static<typeof NewLink>

export const CreatedLink = Type.Object(
  {
    relativePath: Type.String({
      description: 'The path to send images to. Append it to the URL of the service.',
      examples: ['/uploads/Vd0GtqSUWC3UzXiRwcbKgJ9bQdvHqLkEYoV1WnTFpzA5xmNs'],
    }),
    url: Type.Optional(
      Type.String({
        format: 'uri',
        description: 'The URL to send images to, if PUBLIC_URL is set.',
        examples: ['https://images.example/uploads/Vd0GtqSUWC3UzXiRwcbKgJ9bQdvHqLkEYoV1WnTFpzA5xmNs'],
      }),
    ),
    expiresOn: Type.String({ format: 'date-time', examples: ['2026-12-01T00:00:00.000Z'] }),
  },
  {
    $id: 'CreatedLink',
    description: 'The link was created. `Location` is the URL at which the admin reads and revokes it.',
  },
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
  private: Type.Optional(isPrivate),
  stripMetadata: Type.Optional(stripMetadata),
  uploads: Type.Integer({ minimum: 0, description: 'Accepted images, including duplicates.' }),
  bytes: Type.Integer({ minimum: 0, description: 'Accepted bytes, including duplicates.' }),
}

export const Link = Type.Object(link, { $id: 'Link', description: 'An ephemeral link.' })
export type Link = Static<typeof Link>

export const LinkPage = page(Type.Ref('Link'), { $id: 'LinkPage' })

export const Upload = Type.Object(
  {
    imageId: Id,
    name: Type.Optional(Type.String({ description: "The sender's file name." })),
    size: Type.Integer({ minimum: 1, description: 'The size in bytes.' }),
    duplicate: Type.Boolean({ description: 'Whether the image existed before.' }),
    status: ImageStatus,
    receivedAt: Type.String({ format: 'date-time' }),
  },
  { $id: 'Upload' },
)
export type Upload = Static<typeof Upload>

export const LinkWithUploads = Type.Object(
  { ...link, received: page(Upload, { $id: 'UploadPage' }) },
  { $id: 'LinkWithUploads', description: 'The link, and its uploads.' },
)
