import { type Static, Type } from 'typebox'
import { Id } from './ids.ts'
import { page, pageQuery } from './pages.ts'
import { Region } from './regions.ts'
import { LINE } from './text.ts'

export const ImageStatus = Type.Enum(['pending', 'ready', 'failed', 'corrupt', 'rejected', 'removed'], {
  description:
    'pending: a worker will analyse it; ready: analysed; failed: it could not be analysed in several attempts, ' +
    'and is served as it is; corrupt: it is damaged, served only to the admin, and will be removed; ' +
    'rejected: it turned out to be no image; removed: an admin removed it, or its time was up',
})
export type ImageStatus = Static<typeof ImageStatus>

/** What an image tells of itself. What is not known is absent. */
export const Metadata = Type.Object({
  format: Type.String({ description: 'the name of the format', examples: ['JPEG'] }),
  mediaType: Type.String({
    description: 'the media type found in the bytes, whatever the sender declared',
    examples: ['image/jpeg'],
  }),
  width: Type.Optional(Type.Integer({ minimum: 1, description: 'pixels, as stored' })),
  height: Type.Optional(Type.Integer({ minimum: 1, description: 'pixels, as stored' })),
  orientation: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 8,
      description: 'how to turn it to show it, in the numbers of Exif (tag 0x0112)',
    }),
  ),
  cameraMake: Type.Optional(Type.String({ examples: ['Apple'] })),
  cameraModel: Type.Optional(Type.String({ examples: ['iPhone 8 Plus'] })),
  lens: Type.Optional(
    Type.String({
      description: 'the lens, where the camera names it (Exif LensModel)',
      examples: ['EF24-105mm f/4L IS USM'],
    }),
  ),
  takenAt: Type.Optional(
    Type.String({
      description: "the camera's own clock when the picture was taken (Exif DateTimeOriginal)",
      examples: ['2026-11-01T12:00:00'],
    }),
  ),
  takenOffset: Type.Optional(
    Type.String({
      description: "how far the camera's clock was from UTC; absent where the camera does not tell",
      examples: ['+02:00'],
    }),
  ),
  latitude: Type.Optional(Type.Number({ minimum: -90, maximum: 90, description: 'degrees, north positive' })),
  longitude: Type.Optional(
    Type.Number({ minimum: -180, maximum: 180, description: 'degrees, east positive' }),
  ),
  altitude: Type.Optional(Type.Number({ description: 'metres above sea level' })),
  frames: Type.Optional(
    Type.Integer({ minimum: 2, description: 'frames of an animation or pages, where there are several' }),
  ),
  duration: Type.Optional(
    Type.Integer({ minimum: 1, description: 'milliseconds that an animation takes, once through' }),
  ),
  bitDepth: Type.Optional(Type.Integer({ minimum: 1, description: 'bits per sample, as stored' })),
  colourSpace: Type.Optional(
    Type.String({
      description:
        'what its colours mean: the name of its colour profile, or what the format says; sRGB where nothing is said',
      examples: ['Display P3'],
    }),
  ),
  hasAlpha: Type.Optional(Type.Boolean({ description: 'whether it has a channel for transparency' })),
  placeholder: Type.Optional(
    Type.String({
      description:
        'a ThumbHash in Base64: some 25 bytes to show in place of the picture until it is there; made when it is decoded',
      examples: ['3OcRJYB4d3h/iIeHeEh3eIhw+j2w'],
    }),
  ),
})
export type Metadata = Static<typeof Metadata>

/** The same with what follows from it. */
export const ShownMetadata = Type.Object({
  ...Metadata.properties,
  shownWidth: Type.Optional(Type.Integer({ minimum: 1, description: 'pixels, turned by `orientation`' })),
  shownHeight: Type.Optional(Type.Integer({ minimum: 1, description: 'pixels, turned by `orientation`' })),
})
export type ShownMetadata = Static<typeof ShownMetadata>

export const Image = Type.Object(
  {
    id: Id,
    status: ImageStatus,
    hash: Type.Optional(
      Type.String({
        description: 'SHA-256 of the bytes, in hex; absent if the image is removed',
        pattern: '^[0-9a-f]{64}$',
      }),
    ),
    size: Type.Integer({ minimum: 1, description: 'bytes' }),
    receivedAt: Type.String({ format: 'date-time' }),
    removedAt: Type.Optional(Type.String({ format: 'date-time' })),
    failure: Type.Optional(Type.String({ description: 'why it is failed, corrupt or rejected' })),
    region: Type.Optional(Region),
    tier: Type.Enum(['hot', 'cold'], { description: 'cold: it is archived' }),
    lastAccessedAt: Type.String({
      format: 'date-time',
      description: 'when somebody last asked for it, to about a day',
    }),
    ...ShownMetadata.properties,
  },
  { $id: 'Image', description: 'an image and what is known of it' },
)
export type Image = Static<typeof Image>

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

/** What a list of images is narrowed to; of several, all hold. */
export const ImageFilter = Type.Object({
  status: Type.Optional(ImageStatus),
  format: Type.Optional(Type.String({ maxLength: 20, pattern: LINE, examples: ['JPEG'] })),
  cameraModel: Type.Optional(Type.String({ maxLength: 200, pattern: LINE, examples: ['iPhone 8 Plus'] })),
  receivedFrom: instant('received at this instant or later'),
  receivedTo: instant('received before this instant'),
  takenFrom: clock("taken at this time of the camera's own clock or later"),
  takenTo: clock("taken before this time of the camera's own clock"),
  link: Type.Optional(
    Type.String({ pattern: '^[0-9A-Za-z]{48}$', description: 'what came in by the link with this id' }),
  ),
  bbox: Type.Optional(
    Type.String({
      pattern: '^-?[0-9]+([.][0-9]+)?(,-?[0-9]+([.][0-9]+)?){3}$',
      maxLength: 100,
      description:
        'taken within a box of places: its west, south, east and north in degrees, as in RFC 7946 §5; one whose west ' +
        'is greater than its east goes over the antimeridian',
      examples: ['5.9,45.8,10.5,47.8'],
    }),
  ),
})
export type ImageFilter = Static<typeof ImageFilter>

export const ImageQuery = Type.Object(
  { ...pageQuery, ...ImageFilter.properties },
  { additionalProperties: false },
)

/** In which form an image is requested. Unknown parameters are refused: each would be a new key for a cache. */
export const ImageVariant = Type.Object(
  {
    metadata: Type.Optional(
      Type.Enum(['none'], {
        description:
          'none: without Exif, XMP, IPTC and everything else that is not needed to show the picture. Its orientation ' +
          'and colours stay. JPEG, PNG and WebP can be served in this form; the response for other formats is 406',
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
    status: Type.Enum(['failed', 'corrupt', 'ready'], { description: 'only images with this status' }),
  },
  { additionalProperties: false },
)
export type AnalyseFilter = Static<typeof AnalyseFilter>

export const QueuedImages = Type.Object(
  {
    queued: Type.Integer({
      minimum: 0,
      description: 'images that were queued; an image that waits already is not counted',
    }),
  },
  { $id: 'QueuedImages', description: 'The images wait for a worker.' },
)
