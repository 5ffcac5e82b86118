import { type Static, type TSchema, Type } from 'typebox'
import { formatNames } from './formats.ts'
import { Id } from './ids.ts'
import { ImageStatus } from './images.ts'
import { page, pageQuery } from './pages.ts'
import { Region } from './regions.ts'
import { LINE, LINES } from './text.ts'

const label = Type.String({
  minLength: 1,
  maxLength: 200,
  pattern: LINE,
  description: 'The title of the link, also for senders. Control characters are not allowed.',
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

const description = Type.String({
  minLength: 1,
  maxLength: 2_000,
  pattern: LINES,
  description: 'Why the images are wanted: senders read it before they send. It may have several lines.',
  examples: ['Please send us your pictures of the party.'],
})
const mediaType = Type.Enum(Object.keys(formatNames) as (keyof typeof formatNames)[])
const accept = Type.Array(mediaType, {
  minItems: 1,
  maxItems: 100,
  uniqueItems: true,
  description:
    'The media types that the link accepts. Without it, the link accepts what the service accepts.',
  examples: [['image/jpeg', 'image/heic']],
})
const maxFileSize = Type.Integer({
  minimum: 1,
  maximum: Number.MAX_SAFE_INTEGER,
  description: 'The maximum size of one file in bytes. It cannot be above MAX_FILE_SIZE of the service.',
})
const opensOn = Type.String({
  format: 'date-time',
  description: 'The link accepts no images before this time (RFC 3339).',
  examples: ['2026-12-01T00:00:00Z'],
})
const password = Type.String({
  minLength: 1,
  maxLength: 200,
  pattern: LINE,
  description: 'Senders need it. Only a hash is stored, and no response contains it.',
  examples: ['blue-heron-47'],
})
const askSender = Type.Enum(['no', 'optional', 'required'], {
  description:
    "Whether the upload page asks for the sender's name and a message. `required`: images without a name are refused.",
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
    description: Type.Optional(description),
    accept: Type.Optional(accept),
    maxFileSize: Type.Optional(maxFileSize),
    opensOn: Type.Optional(opensOn),
    password: Type.Optional(password),
    askSender: Type.Optional(askSender),
  },
  { $id: 'NewLink', additionalProperties: false, examples: [{ sinceNow: 'PT1H' }] },
)
export type NewLink = Static<typeof NewLink>

const removable = <Schema extends TSchema>(schema: Schema) => Type.Optional(Type.Union([schema, Type.Null()]))
const { sinceNow, timeExact } = NewLink.properties

/** Only the fields that change. Null removes an option or a limit. */
export const LinkChange = Type.Object(
  {
    sinceNow,
    timeExact,
    label: removable(label),
    description: removable(description),
    maxImages: removable(maxImages),
    maxBytes: removable(maxBytes),
    maxFileSize: removable(maxFileSize),
    accept: removable(accept),
    opensOn: removable(opensOn),
    password: removable(password),
    askSender: Type.Optional(askSender),
    private: Type.Optional(isPrivate),
    stripMetadata: Type.Optional(stripMetadata),
  },
  { $id: 'LinkChange', additionalProperties: false, minProperties: 1, examples: [{ sinceNow: 'P1D' }] },
)
export type LinkChange = Static<typeof LinkChange>

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
  relativePath: Type.String({ description: 'The path of the upload page, below the URL of the service.' }),
  url: Type.Optional(
    Type.String({ format: 'uri', description: 'The URL of the upload page, if PUBLIC_URL is set.' }),
  ),
  label: Type.Optional(label),
  region: Type.Optional(Region),
  status: Type.Enum(['open', 'not_open_yet', 'expired', 'revoked', 'used_up']),
  createdAt: Type.String({ format: 'date-time' }),
  expiresOn: Type.String({ format: 'date-time' }),
  revokedAt: Type.Optional(Type.String({ format: 'date-time' })),
  maxImages: Type.Optional(maxImages),
  maxBytes: Type.Optional(maxBytes),
  private: Type.Optional(isPrivate),
  stripMetadata: Type.Optional(stripMetadata),
  description: Type.Optional(description),
  accept: Type.Optional(accept),
  maxFileSize: Type.Optional(maxFileSize),
  opensOn: Type.Optional(opensOn),
  hasPassword: Type.Boolean({ description: 'Whether senders need a password.' }),
  askSender,
  uploads: Type.Integer({ minimum: 0, description: 'Accepted images, including duplicates.' }),
  bytes: Type.Integer({ minimum: 0, description: 'Accepted bytes, including duplicates.' }),
}

export const Link = Type.Object(link, { $id: 'Link', description: 'An ephemeral link.' })
export type Link = Static<typeof Link>

export const LinkQuery = Type.Object(
  {
    ...pageQuery,
    search: Type.Optional(
      Type.String({
        maxLength: 200,
        minLength: 1,
        pattern: LINE,
        description: 'A part of the label or of the description, in any case, or an id.',
      }),
    ),
  },
  { additionalProperties: false },
)

export const LinkPage = page(Type.Ref('Link'), { $id: 'LinkPage' })

export const Upload = Type.Object(
  {
    imageId: Id,
    name: Type.Optional(Type.String({ description: "The sender's file name." })),
    size: Type.Integer({ minimum: 1, description: 'The size in bytes.' }),
    duplicate: Type.Boolean({ description: 'Whether the image existed before.' }),
    status: ImageStatus,
    receivedAt: Type.String({ format: 'date-time' }),
    sender: Type.Optional(Type.String({ description: 'The name that the sender gave.' })),
    message: Type.Optional(Type.String({ description: 'The message that the sender gave.' })),
  },
  { $id: 'Upload' },
)
export type Upload = Static<typeof Upload>

export const LinkWithUploads = Type.Object(
  { ...link, received: page(Upload, { $id: 'UploadPage' }) },
  { $id: 'LinkWithUploads', description: 'The link, and its uploads.' },
)

/** The data of an open link that senders may read before they send a byte. */
export const UploadLink = Type.Object(
  {
    status: Type.Enum(['open']),
    label: Type.Optional(label),
    description: Type.Optional(description),
    expiresOn: Type.String({ format: 'date-time' }),
    accept: Type.Array(mediaType, { description: 'The media types that are accepted.' }),
    maxFileSize: Type.Integer({ minimum: 1, description: 'The maximum size of one file in bytes.' }),
    maxFiles: Type.Integer({ minimum: 1, description: 'The maximum number of files in one request.' }),
    remainingImages: Type.Optional(
      Type.Integer({ minimum: 0, description: 'How many images the link still accepts, if it has a limit.' }),
    ),
    remainingBytes: Type.Optional(
      Type.Integer({ minimum: 0, description: 'How many bytes the link still accepts, if it has a limit.' }),
    ),
    hasPassword: Type.Boolean({ description: 'Whether each request needs the password.' }),
    askSender,
    private: Type.Optional(isPrivate),
    stripMetadata: Type.Optional(stripMetadata),
  },
  { $id: 'UploadLink', description: 'The link is open.' },
)
export type UploadLink = Static<typeof UploadLink>

/** The form by which a browser sends the password of a link. */
export const Unlock = Type.Object(
  { password: Type.String({ maxLength: 200, description: 'The password of the link.' }) },
  { $id: 'Unlock' },
)
