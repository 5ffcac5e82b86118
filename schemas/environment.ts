import { type Static, Type } from 'typebox'
import { formatNames } from './formats.ts'
import { REGION } from './regions.ts'

const byteSize = '^[1-9][0-9]*( ?(B|KiB|MiB|GiB))?$'
// ISO 8601, without a fraction on any unit but the seconds.
const duration =
  '^P(?=.)([0-9]+Y)?([0-9]+M)?([0-9]+W)?([0-9]+D)?(T(?=.)([0-9]+H)?([0-9]+M)?([0-9]+([.][0-9]+)?S)?)?$'
const tokens = '^[\\x21-\\x2b\\x2d-\\x7e]+(,[\\x21-\\x2b\\x2d-\\x7e]+)*$'

const key = '([0-9a-fA-F]{2}){32,128}'
const keys = `^${key}(,${key})?$`

const size = '(819[0-2]|81[0-8][0-9]|80[0-9]{2}|[1-7][0-9]{3}|[1-9][0-9]{0,2})'

const namedUrl = `${REGION}=(file:///|s3://)[^,]+`
const namedUrls = `^${namedUrl}(,${namedUrl})*$`

const mediaType = `(${Object.keys(formatNames).join('|').replace(/[.+]/g, '\\$&')})`

/**
 * The environment variables. A message about a wrong value contains `description` ("NAME must be …") and the first of
 * `examples`.
 */
export const Environment = Type.Object({
  HOST: Type.String({
    default: '127.0.0.1',
    minLength: 1,
    description: 'the address to listen on',
    examples: ['0.0.0.0'],
  }),
  PORT: Type.Integer({
    default: 3000,
    minimum: 0,
    maximum: 65535,
    description: 'a port from 0 to 65535 (0: any free port)',
    examples: [3000],
  }),
  ACCESS_TOKEN: Type.Optional(
    Type.String({
      pattern: tokens,
      description: "the admin's access tokens, separated by commas, of visible ASCII characters",
      examples: ['kJ8pQ2mX7vB4nR6tL5wY9cZ3'],
    }),
  ),
  ACCESS_TOKEN_FILE: Type.Optional(
    Type.String({
      minLength: 1,
      description: "a file that contains the admin's access tokens, instead of ACCESS_TOKEN",
      examples: ['/run/secrets/access-token'],
    }),
  ),
  DATA_DIR: Type.String({
    default: './data',
    minLength: 1,
    description: 'the folder for the embedded database, the image files and the generated access token',
    examples: ['./data'],
  }),
  DATABASE_URL: Type.Optional(
    Type.String({
      pattern: '^postgres(ql)?://.+',
      description:
        'the URL of a PostgreSQL or CockroachDB database (not set: an embedded database in DATA_DIR)',
      examples: ['postgres://hasty:secret@db.example:5432/hasty'],
    }),
  ),
  OBJECT_STORE_URL: Type.Optional(
    Type.String({
      pattern: '^(file:///|s3://).+',
      description:
        'the URL of the object store: file:///absolute/path, or ' +
        's3://bucket/prefix?endpoint=…&region=…&forcePathStyle=true&storageClass=… (optional after the bucket)',
      examples: ['file:///var/lib/hasty/objects'],
    }),
  ),
  OBJECT_STORE_URLS: Type.Optional(
    Type.String({
      pattern: namedUrls,
      description:
        'region=URL pairs, separated by commas: unique region names of lowercase letters, digits and hyphens, and URLs ' +
        'like OBJECT_STORE_URL that do not overlap',
      examples: ['eu=s3://images-eu?region=eu-central-1,us=s3://images-us?region=us-east-1'],
    }),
  ),
  COLD_STORE_URL: Type.Optional(
    Type.String({
      pattern: '^(file:///|s3://).+',
      description:
        'the URL of the store for archived images: a URL like OBJECT_STORE_URL that does not overlap with it',
      examples: ['file:///mnt/archive/hasty'],
    }),
  ),
  COLD_STORE_URLS: Type.Optional(
    Type.String({
      pattern: namedUrls,
      description:
        'region=URL pairs, separated by commas: regions of OBJECT_STORE_URLS, and URLs like COLD_STORE_URL that do not ' +
        'overlap',
      examples: ['eu=s3://archive-eu?region=eu-central-1&storageClass=GLACIER_IR'],
    }),
  ),
  QUEUE_URL: Type.Optional(
    Type.String({
      pattern: '^(nats|tls)://([^/?#@\\s]+@)?[^/?#@,\\s]+(,[^/?#@,\\s]+)*/?$',
      description:
        'the URL of NATS JetStream: nats:// or tls://, with a user and password or a token if the server needs them, and ' +
        'one server or several, separated by commas ' +
        '(not set: workers poll the database)',
      examples: ['nats://hasty:secret@nats.example:4222'],
    }),
  ),
  INLINE_LIMIT: Type.String({
    default: '1MiB',
    pattern: '^(0|[1-9][0-9]*( ?(B|KiB|MiB|GiB))?)$',
    description:
      'a size in B, KiB, MiB or GiB: files up to this size are analysed before the response (0: a worker analyses all files)',
    examples: ['1MiB'],
  }),
  MAX_FILE_SIZE: Type.String({
    default: '100MiB',
    pattern: byteSize,
    description: 'a size in B, KiB, MiB or GiB: the maximum size of one file',
    examples: ['100MiB'],
  }),
  MAX_FILES: Type.Integer({
    default: 20,
    minimum: 1,
    maximum: 1000,
    description: 'the maximum number of files in a request, from 1 to 1000',
    examples: [20],
  }),
  UPLOADS_PER_LINK: Type.Integer({
    default: 256,
    minimum: 1,
    maximum: 100_000,
    description: 'the maximum number of concurrent uploads by one link, from 1 to 100000',
    examples: [256],
  }),
  UPLOADS_PER_ADDRESS: Type.Integer({
    default: 256,
    minimum: 1,
    maximum: 100_000,
    description: 'the maximum number of concurrent uploads from one address, from 1 to 100000',
    examples: [256],
  }),
  STAGED_LIMIT: Type.String({
    default: '512MiB',
    pattern: byteSize,
    description:
      'a size in B, KiB, MiB or GiB: the maximum size of all unfinished uploads in one process, half of it for one link',
    examples: ['512MiB'],
  }),
  ARCHIVE_AFTER: Type.Optional(
    Type.String({
      pattern: duration,
      description:
        'an ISO 8601 duration above zero: images move to COLD_STORE_URL when nobody has requested them for this long',
      examples: ['P90D'],
    }),
  ),
  DELETE_AFTER: Type.Optional(
    Type.String({
      pattern: duration,
      description:
        'an ISO 8601 duration above zero: images are removed when nobody has requested them for this long',
      examples: ['P2Y'],
    }),
  ),
  SWEEP_GRACE: Type.String({
    default: 'PT1H',
    pattern: duration,
    description:
      'an ISO 8601 duration of at least one second, longer than the longest upload: objects without a database row are ' +
      'kept for this long',
    examples: ['PT1H'],
  }),
  TRASH_FOR: Type.String({
    default: 'P7D',
    pattern: duration,
    description:
      'an ISO 8601 duration: the sweep keeps objects without a database row in the trash for this long',
    examples: ['P7D'],
  }),
  VERIFY_EVERY: Type.String({
    default: 'P30D',
    pattern: duration,
    description:
      'an ISO 8601 duration of at least a minute: the SHA-256 of each stored object is checked this often',
    examples: ['P30D'],
  }),
  VERIFY_RATE: Type.String({
    default: '10MiB',
    pattern: byteSize,
    description:
      'a size in B, KiB, MiB or GiB: how much the check of stored objects reads per second at most',
    examples: ['10MiB'],
  }),
  CORRUPT_GRACE: Type.String({
    default: 'P7D',
    pattern: duration,
    description: 'an ISO 8601 duration: damaged images are kept for this long',
    examples: ['P7D'],
  }),
  RESUME_WITHIN: Type.String({
    default: 'P1D',
    pattern: duration,
    description:
      'an ISO 8601 duration from one second to 30 days: an unfinished resumable upload is deleted this long after its start',
    examples: ['P1D'],
  }),
  ACCEPT: Type.Optional(
    Type.String({
      pattern: `^${mediaType}( *, *${mediaType})*$`,
      description:
        'a list of supported media types (docs/formats.md), separated by commas: only these are accepted',
      examples: ['image/jpeg,image/png'],
    }),
  ),
  IMAGES: Type.Enum(['public', 'private'], {
    default: 'public',
    description:
      'public or private: with private, an image is served only with an access token or a signed URL',
    examples: ['private'],
  }),
  SIGNING_KEY: Type.Optional(
    Type.String({
      pattern: keys,
      description:
        'one or two keys of 32 bytes or more in hex, separated by a comma, that sign URLs of private images: the first ' +
        'signs, both are accepted (not set: a key in the database)',
      examples: ['0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0'],
    }),
  ),
  VARIANT_SIZES: Type.String({
    default: '160,320,640,960,1280,1920,2560',
    pattern: `^${size}( *, *${size}){0,49}$`,
    description:
      'up to 50 numbers of pixels from 1 to 8192, separated by commas: the widths and heights that can be requested ' +
      'without a signature',
    examples: ['160,320,640,960,1280,1920,2560'],
  }),
  VARIANT_KEY: Type.Optional(
    Type.String({
      pattern: keys,
      description:
        'one or two keys of 32 bytes or more in hex, separated by a comma: a URL that one of them has signed can request a ' +
        'variant of any size (not set: only VARIANT_SIZES)',
      examples: ['8796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a6978'],
    }),
  ),
  SERVE: Type.Enum(['all', 'verified'], {
    default: 'all',
    description: 'all or verified: with verified, an image is served only after a decoder has decoded it',
    examples: ['verified'],
  }),
  CACHE_MAX_AGE: Type.String({
    default: 'PT10M',
    pattern: `^immutable$|${duration}`,
    description:
      'an ISO 8601 duration of at most a year, or immutable: how long a cache may serve an image without asking again',
    examples: ['PT10M'],
  }),
  PUBLIC_METADATA: Type.Enum(['all', 'none'], {
    default: 'all',
    description:
      'all, or none (images are served without Exif, XMP and IPTC, or not at all if these cannot be removed)',
    examples: ['none'],
  }),
  API_PROCESSES: Type.String({
    default: '1',
    pattern: '^(auto|[1-9]|[1-5][0-9]|6[0-4])$',
    description: 'the number of API processes, from 1 to 64, or auto (one for each core)',
    examples: ['auto'],
  }),
  WORKER_PROCESSES: Type.Integer({
    default: 1,
    minimum: 0,
    maximum: 64,
    description: 'the number of workers that the server starts, from 0 to 64 (0: workers run separately)',
    examples: [1],
  }),
  PUBLIC_URL: Type.Optional(
    Type.String({
      pattern: '^https?://[^?#]+$',
      description: 'the URL at which clients reach the service, perhaps with a path',
      examples: ['https://images.example'],
    }),
  ),
  TRUST_PROXY: Type.String({
    default: 'false',
    minLength: 1,
    description:
      'true, false, or the addresses of the proxies whose X-Forwarded-* fields are trusted, separated by commas',
    examples: ['10.0.0.0/8'],
  }),
  CORS_ORIGIN: Type.Optional(
    Type.String({
      pattern: '^([*]|https?://[^/?#,\\s]+( *, *https?://[^/?#,\\s]+)*)$',
      description:
        'the origins whose pages may upload and read images, separated by commas, or * (all origins)',
      examples: ['https://app.example'],
    }),
  ),
  GUESS_LIMIT: Type.Integer({
    default: 100,
    minimum: 0,
    maximum: 1_000_000,
    description:
      'the number of unknown link ids, unknown image ids and wrong access tokens (each) that an address may send in a ' +
      'minute, from 0 to 1000000 (0: no limit); a tenth of it limits wrong passwords of links',
    examples: [100],
  }),
  CLIENT_TIMEOUT: Type.String({
    default: 'PT1M',
    pattern: duration,
    description:
      'an ISO 8601 duration from one second to one day: clients are disconnected if in this time they send no complete ' +
      'header, less than 1 KiB/s of a body, or read nothing of a response',
    examples: ['PT1M'],
  }),
  STOP_DELAY: Type.String({
    default: 'PT5S',
    pattern: duration,
    description:
      'an ISO 8601 duration of at most 20 seconds: after SIGTERM, every request is served for this time while /readyz ' +
      'responds with 503',
    examples: ['PT5S'],
  }),
  HIDE_DUPLICATES: Type.Enum(['true', 'false'], {
    default: 'false',
    description:
      'true or false (true: each upload becomes a separate image, so that senders cannot find out which images exist)',
    examples: ['true'],
  }),
  ADMIN_PAGES: Type.Enum(['true', 'false'], {
    default: 'true',
    description: 'true or false (false: no console at /admin, and no sign-in)',
    examples: ['false'],
  }),
  METRICS_PORT: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 65535,
      description: 'a port from 1 to 65535 for metrics and probes, which are then not on PORT',
      examples: [9464],
    }),
  ),
  OTEL_EXPORTER_OTLP_ENDPOINT: Type.Optional(
    Type.String({
      pattern: '^https?://[^?#,\\s]+$',
      description: 'the URL of a receiver of traces (OTLP over HTTP), without /v1/traces',
      examples: ['http://localhost:4318'],
    }),
  ),
  OTEL_EXPORTER_OTLP_HEADERS: Type.Optional(
    Type.String({
      pattern: '^[^=,\\s]+=[^,]*(,[^=,\\s]+=[^,]*)*$',
      description: 'header fields for the receiver of traces, separated by commas',
      examples: ['authorization=Bearer%20TOKEN'],
    }),
  ),
  OTEL_SERVICE_NAME: Type.String({
    default: 'hasty',
    pattern: '^[^\\x00-\\x1f\\x7f]{1,100}$',
    description: 'the name of the service in traces',
    examples: ['hasty'],
  }),
  OTEL_TRACES_SAMPLER: Type.Enum(
    [
      'always_on',
      'always_off',
      'traceidratio',
      'parentbased_always_on',
      'parentbased_always_off',
      'parentbased_traceidratio',
    ],
    {
      default: 'parentbased_always_on',
      description: 'one of the samplers of OpenTelemetry',
      examples: ['parentbased_traceidratio'],
    },
  ),
  OTEL_TRACES_SAMPLER_ARG: Type.Optional(
    Type.Number({
      minimum: 0,
      maximum: 1,
      description: 'the share of requests that a traceidratio sampler traces, from 0 to 1',
      examples: [0.1],
    }),
  ),
  LOG_LEVEL: Type.Enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'], {
    default: 'info',
    description: 'one of trace, debug, info, warn, error, fatal, silent',
    examples: ['info'],
  }),
})
export type Environment = Static<typeof Environment>
