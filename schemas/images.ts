import { type Static, Type } from 'typebox'
import { Id } from './ids.ts'
import { page, pageQuery } from './pages.ts'
import { Region } from './regions.ts'
import { LINE } from './text.ts'

export const ImageStatus = Type.Enum(['pending', 'ready', 'failed', 'corrupt', 'rejected', 'removed'], {
  description:
    'pending: a worker will analyse it. ready: it was analysed. failed: it could not be analysed, and is served ' +
    'unchanged. corrupt: it is damaged, is served only to the admin, and will be removed. ' +
    'rejected: the worker found that it is not an image. removed: the admin or DELETE_AFTER removed it.',
})
export type ImageStatus = Static<typeof ImageStatus>

/** The metadata of an image. Unknown values are absent. */
export const Metadata = Type.Object({
  format: Type.String({ description: 'The name of the format.', examples: ['JPEG'] }),
  mediaType: Type.String({
    description: 'The media type that was detected in the bytes. The declared type is ignored.',
    examples: ['image/jpeg'],
  }),
  width: Type.Optional(Type.Integer({ minimum: 1, description: 'The stored width in pixels.' })),
  height: Type.Optional(Type.Integer({ minimum: 1, description: 'The stored height in pixels.' })),
  orientation: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 8,
      description: 'The orientation for display: a value of Exif tag 0x0112.',
    }),
  ),
  cameraMake: Type.Optional(Type.String({ examples: ['Apple'] })),
  cameraModel: Type.Optional(Type.String({ examples: ['iPhone 8 Plus'] })),
  lens: Type.Optional(
    Type.String({
      description: 'The lens (Exif LensModel).',
      examples: ['EF24-105mm f/4L IS USM'],
    }),
  ),
  takenAt: Type.Optional(
    Type.String({
      description: "The time of the camera's clock when the picture was taken (Exif DateTimeOriginal).",
      examples: ['2026-11-01T12:00:00'],
    }),
  ),
  takenOffset: Type.Optional(
    Type.String({
      description: "The offset of the camera's clock from UTC. Absent if the camera did not record it.",
      examples: ['+02:00'],
    }),
  ),
  latitude: Type.Optional(
    Type.Number({ minimum: -90, maximum: 90, description: 'Degrees, positive in the north.' }),
  ),
  longitude: Type.Optional(
    Type.Number({ minimum: -180, maximum: 180, description: 'Degrees, positive in the east.' }),
  ),
  altitude: Type.Optional(Type.Number({ description: 'Metres above sea level.' })),
  frames: Type.Optional(
    Type.Integer({ minimum: 2, description: 'The number of frames or pages. Absent if there is only one.' }),
  ),
  duration: Type.Optional(
    Type.Integer({ minimum: 1, description: 'The duration of one loop of an animation, in milliseconds.' }),
  ),
  bitDepth: Type.Optional(Type.Integer({ minimum: 1, description: 'Stored bits per sample.' })),
  colourSpace: Type.Optional(
    Type.String({
      description:
        'The name of the colour profile, or the colour space of the format. sRGB if none is given.',
      examples: ['Display P3'],
    }),
  ),
  hasAlpha: Type.Optional(Type.Boolean({ description: 'Whether it has an alpha channel.' })),
  placeholder: Type.Optional(
    Type.String({
      description:
        'A ThumbHash in Base64: about 25 bytes to display while the picture loads. It is created when the image is decoded.',
      examples: ['3OcRJYB4d3h/iIeHeEh3eIhw+j2w'],
    }),
  ),
  damaged: Type.Optional(
    Type.Boolean({
      description:
        'true: the file is damaged or cut off, but decoders make a picture of it; absent for an intact file and before decoding',
    }),
  ),
  damage: Type.Optional(
    Type.String({
      description: 'What is wrong with a damaged file, in the words of the decoder.',
      examples: ['the image is damaged or cut off (VipsJpeg: premature end of JPEG image)'],
    }),
  ),
  presentShare: Type.Optional(
    Type.Number({
      minimum: 0,
      maximum: 1,
      description:
        'The share of the picture that a damaged file still has; absent if it cannot be determined.',
      examples: [0.98],
    }),
  ),
})
export type Metadata = Static<typeof Metadata>

/** Metadata with derived values. */
export const ShownMetadata = Type.Object({
  ...Metadata.properties,
  shownWidth: Type.Optional(
    Type.Integer({ minimum: 1, description: 'The displayed width in pixels, after `orientation`.' }),
  ),
  shownHeight: Type.Optional(
    Type.Integer({ minimum: 1, description: 'The displayed height in pixels, after `orientation`.' }),
  ),
})
export type ShownMetadata = Static<typeof ShownMetadata>

export const Image = Type.Object(
  {
    id: Id,
    status: ImageStatus,
    hash: Type.Optional(
      Type.String({
        description: 'The SHA-256 of the bytes in hex. Absent if the image is removed.',
        pattern: '^[0-9a-f]{64}$',
      }),
    ),
    size: Type.Integer({ minimum: 1, description: 'The size in bytes.' }),
    receivedAt: Type.String({ format: 'date-time' }),
    removedAt: Type.Optional(Type.String({ format: 'date-time' })),
    objectFault: Type.Optional(
      Type.Enum(['missing', 'mismatch'], {
        description:
          'The stored object is missing or differs from the received bytes, and no other store has the right object. ' +
          'Found when the objects were verified.',
      }),
    ),
    failure: Type.Optional(Type.String({ description: 'The reason why it is failed, corrupt or rejected.' })),
    private: Type.Optional(
      Type.Boolean({ description: 'true: only a request with an access token or a signed URL gets it.' }),
    ),
    stripMetadata: Type.Optional(
      Type.Boolean({ description: 'true: it is served without Exif, XMP and IPTC.' }),
    ),
    region: Type.Optional(Region),
    tier: Type.Enum(['hot', 'cold'], { description: '`cold` if it is archived.' }),
    lastAccessedAt: Type.String({
      format: 'date-time',
      description: 'The time of the last request, exact to about a day.',
    }),
    ...ShownMetadata.properties,
  },
  { $id: 'Image', description: 'An image and its metadata.' },
)
export type Image = Static<typeof Image>

/** An image and its uploads. */
export const ImageWithUploads = Type.Object(
  {
    ...Image.properties,
    uploads: Type.Array(
      Type.Object({
        name: Type.Optional(Type.String({ description: "The sender's file name." })),
        link: Type.Object({ id: Id, label: Type.Optional(Type.String()) }),
        duplicate: Type.Boolean({ description: 'Whether the image existed before.' }),
        receivedAt: Type.String({ format: 'date-time' }),
        sender: Type.Optional(Type.String({ description: 'The name that the sender gave.' })),
        message: Type.Optional(Type.String({ description: 'The message that the sender gave.' })),
      }),
      { maxItems: 100, description: 'The last 100 uploads of the image, newest first.' },
    ),
  },
  { $id: 'ImageWithUploads', description: 'An image, its metadata and its uploads.' },
)
export type ImageWithUploads = Static<typeof ImageWithUploads>

export const ImagePage = page(Type.Ref('Image'), { $id: 'ImagePage' })

const instant = (description: string) =>
  Type.Optional(Type.String({ format: 'date-time', description, examples: ['2026-11-01T00:00:00Z'] }))

/** A time of the camera's own clock, to the minute or the second, or a day. */
const clock = (description: string) =>
  Type.Optional(
    Type.String({
      pattern: '^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}(:[0-9]{2})?)?$',
      description,
      examples: ['2026-11-01T12:00:00', '2026-11-01'],
    }),
  )

/** The filters of a list of images. An image must match all of them. */
export const ImageFilter = Type.Object({
  status: Type.Optional(ImageStatus),
  format: Type.Optional(Type.String({ maxLength: 20, pattern: LINE, examples: ['JPEG'] })),
  cameraModel: Type.Optional(Type.String({ maxLength: 200, pattern: LINE, examples: ['iPhone 8 Plus'] })),
  receivedFrom: instant('Received at this time or later.'),
  receivedTo: instant('Received before this time.'),
  takenFrom: clock("Taken at this time of the camera's own clock or later."),
  takenTo: clock("Taken before this time of the camera's own clock."),
  link: Type.Optional(Type.String({ pattern: '^[0-9A-Za-z]{48}$', description: 'Received with this link.' })),
  name: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 255,
      pattern: LINE,
      description: 'A part of the file name of an upload, in any case.',
      examples: ['IMG_2041'],
    }),
  ),
  hash: Type.Optional(
    Type.String({ pattern: '^[0-9a-f]{6,64}$', description: 'The SHA-256 in hex, or its beginning.' }),
  ),
  ids: Type.Optional(
    Type.String({
      pattern: '^[0-9A-Za-z]{48}(,[0-9A-Za-z]{48}){0,249}$',
      description: 'The ids of up to 250 images, separated by commas.',
    }),
  ),
  damaged: Type.Optional(
    Type.Boolean({ description: 'true: images of damaged files that still have a picture.' }),
  ),
  objectFault: Type.Optional(
    Type.Enum(['missing', 'mismatch'], { description: 'The stored object is missing, or has other bytes.' }),
  ),
  bbox: Type.Optional(
    Type.String({
      pattern: '^-?[0-9]+([.][0-9]+)?(,-?[0-9]+([.][0-9]+)?){3}$',
      maxLength: 100,
      description:
        'Taken in this area: west, south, east and north in degrees (RFC 7946 §5). If west is greater than east, the ' +
        'area crosses the antimeridian.',
      examples: ['5.9,45.8,10.5,47.8'],
    }),
  ),
})
export type ImageFilter = Static<typeof ImageFilter>

export const ImageQuery = Type.Object(
  {
    ...pageQuery,
    ...ImageFilter.properties,
    removed: Type.Optional(
      Type.Boolean({ description: 'false: without removed images. true, the default: with them.' }),
    ),
  },
  { additionalProperties: false },
)

const metadata = Type.Optional(
  Type.Enum(['none'], {
    description:
      'none: without Exif, XMP, IPTC and everything else that is not needed to show the picture. Its orientation ' +
      'and colours stay. JPEG, PNG and WebP can be served in this form; the response for other formats is 406',
  }),
)

const SIDE = '^(819[0-2]|81[0-8][0-9]|80[0-9]{2}|[1-7][0-9]{3}|[1-9][0-9]{0,2})$'

const fit = Type.Optional(
  Type.Enum(['cover', 'contain', 'inside'], {
    description:
      'How the picture fits into w and h. inside (the default): as large as possible. contain: like inside, and padded ' +
      'to w and h. cover: fills w and h, and the rest is cut off. A picture is never enlarged.',
  }),
)
const variantFormat = Type.Optional(
  Type.Enum(['auto', 'avif', 'webp', 'jpeg', 'png'], {
    description: 'The format of the variant. auto (the default): the best one that Accept allows.',
  }),
)

// Strings and not numbers: each number has only one spelling, because each spelling would be a key for a cache.
const variantQuery = {
  w: Type.Optional(
    Type.String({
      pattern: SIDE,
      description:
        'The width in pixels. Without a signature, it must be one of VARIANT_SIZES. With w, h, fit, format, q or dpr, the ' +
        'response is a variant: turned as it is shown, in sRGB and without metadata.',
      examples: ['640'],
    }),
  ),
  h: Type.Optional(
    Type.String({ pattern: SIDE, description: 'The height in pixels. It follows the rules of w.' }),
  ),
  fit,
  format: variantFormat,
  q: Type.Optional(
    Type.String({
      pattern: '^(100|[1-9][0-9]?)$',
      description: 'The quality, from 1 to 100. Without a signature, it must be a multiple of 5 from 30.',
      examples: ['80'],
    }),
  ),
  dpr: Type.Optional(
    Type.String({
      pattern: '^[1-3]$',
      description: 'The pixels of the screen: w and h are multiplied by it.',
    }),
  ),
}

/** In which form an image is requested. Unknown parameters are refused: each would be a new key for a cache. */
export const ImageVariant = Type.Object(
  {
    metadata,
    ...variantQuery,
    download: Type.Optional(
      Type.Literal('', { description: 'The response names the file, and a browser saves it.' }),
    ),
    expires: Type.Optional(
      Type.String({
        pattern: '^[1-9][0-9]{0,11}$',
        description: 'The time at which a signed URL expires, in seconds since 1970.',
      }),
    ),
    signature: Type.Optional(
      Type.String({
        pattern: '^[A-Za-z0-9_-]{43}$',
        description: 'The signature of the path and the other parameters.',
      }),
    ),
  },
  { additionalProperties: false },
)
export type ImageVariant = Static<typeof ImageVariant>

const bytes = { schema: Type.Unsafe({ type: 'string', format: 'binary' }) }

/** The content of a response that is an image. Some generators do not know `image/*`. */
export const ImageBytes = { 'application/octet-stream': bytes, 'image/*': bytes }

/** Which images are analysed again. */
export const AnalyseFilter = Type.Object(
  {
    status: Type.Enum(['failed', 'corrupt', 'ready'], { description: 'Only images with this status.' }),
  },
  { additionalProperties: false },
)
export type AnalyseFilter = Static<typeof AnalyseFilter>

export const RemovalFilter = Type.Object(ImageFilter.properties, { additionalProperties: false })

export const RemovedImages = Type.Object(
  {
    removed: Type.Integer({ minimum: 0, description: 'Images that were removed.' }),
    isDone: Type.Boolean({ description: 'Whether no more images match the filter.' }),
  },
  { $id: 'RemovedImages', description: 'The images were removed.' },
)

export const QueuedImages = Type.Object(
  {
    queued: Type.Integer({
      minimum: 0,
      description: 'Images that were queued; an image that waits already is not counted.',
    }),
  },
  { $id: 'QueuedImages', description: 'The images wait for a worker.' },
)

const side = (description: string) => Type.Integer({ minimum: 1, maximum: 8192, description })

/** A request for a URL of a private image. */
export const SignedUrl = Type.Object(
  {
    expiresIn: Type.String({
      maxLength: 100,
      description: 'An ISO 8601 duration from now, of a year at most.',
      examples: ['PT1H'],
    }),
    metadata,
    w: Type.Optional(side('The width of a variant in pixels. Any size is allowed.')),
    h: Type.Optional(side('The height of a variant in pixels.')),
    fit,
    format: variantFormat,
    q: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, description: 'The quality of a variant.' })),
    dpr: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 3, description: 'w and h are multiplied by it.' }),
    ),
    download: Type.Optional(Type.Boolean({ description: 'true: a browser saves the file.' })),
  },
  { $id: 'SignedUrl', additionalProperties: false, examples: [{ expiresIn: 'PT1H' }] },
)
export type SignedUrl = Static<typeof SignedUrl>

export const CreatedSignedUrl = Type.Object(
  {
    relativePath: Type.String({
      description: 'The path with its parameters. Append it to the URL of the service.',
    }),
    url: Type.Optional(Type.String({ format: 'uri', description: 'The whole URL, if PUBLIC_URL is set.' })),
    expiresOn: Type.String({ format: 'date-time' }),
  },
  { $id: 'CreatedSignedUrl', description: 'Anybody who has the URL can read the image until it expires.' },
)

export const RemovedVariants = Type.Object(
  { removed: Type.Integer({ minimum: 0, description: 'Variants that were deleted.' }) },
  { $id: 'RemovedVariants', description: 'The number of deleted variants.' },
)
