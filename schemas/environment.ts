import { type Static, Type } from 'typebox'
import { formatNames } from './formats.ts'
import { REGION } from './regions.ts'

const byteSize = '^[1-9][0-9]*( ?(B|KiB|MiB|GiB))?$'
// ISO 8601, without a fraction on any unit but the seconds.
const duration =
  '^P(?=.)([0-9]+Y)?([0-9]+M)?([0-9]+W)?([0-9]+D)?(T(?=.)([0-9]+H)?([0-9]+M)?([0-9]+([.][0-9]+)?S)?)?$'
const tokens = '^[\\x21-\\x2b\\x2d-\\x7e]+(,[\\x21-\\x2b\\x2d-\\x7e]+)*$'

const namedUrl = `${REGION}=(file:///|s3://)[^,]+`
const namedUrls = `^${namedUrl}(,${namedUrl})*$`

const mediaType = `(${Object.keys(formatNames).join('|').replace(/[.+]/g, '\\$&')})`

/**
 * The environment, as a process is given it: strings, with a default where there is one.
 * `description` says what a value must be, `examples` shows one: both are put into the message that refuses a wrong one.
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
    description: 'a port from 0 to 65535; 0 picks a free one',
    examples: [3000],
  }),
  ACCESS_TOKEN: Type.Optional(
    Type.String({
      pattern: tokens,
      description: "the admin's tokens, comma-separated, of visible ASCII characters",
      examples: ['kJ8pQ2mX7vB4nR6t'],
    }),
  ),
  DATA_DIR: Type.String({
    default: './data',
    minLength: 1,
    description: 'the folder of all that the embedded defaults keep',
    examples: ['./data'],
  }),
  DATABASE_URL: Type.Optional(
    Type.String({
      pattern: '^postgres(ql)?://.+',
      description: 'a PostgreSQL or CockroachDB URL; without it the embedded database is used',
      examples: ['postgres://hasty:secret@db.example:5432/hasty'],
    }),
  ),
  OBJECT_STORE_URL: Type.Optional(
    Type.String({
      pattern: '^(file:///|s3://).+',
      description:
        'where the bytes of images are kept: a file: URL with an absolute path, or ' +
        's3://bucket/prefix?endpoint=…&region=…&forcePathStyle=true&storageClass=…, all after the bucket optional',
      examples: ['file:///var/lib/hasty/objects'],
    }),
  ),
  OBJECT_STORE_URLS: Type.Optional(
    Type.String({
      pattern: namedUrls,
      description:
        'name=URL for each region, comma-separated: the names of lowercase letters, digits and hyphens, each once, the URLs ' +
        'as OBJECT_STORE_URL has them and each of a place of its own',
      examples: ['eu=s3://images-eu?region=eu-central-1,us=s3://images-us?region=us-east-1'],
    }),
  ),
  COLD_STORE_URL: Type.Optional(
    Type.String({
      pattern: '^(file:///|s3://).+',
      description:
        'where the bytes of archived images are kept: a URL as OBJECT_STORE_URL has it, of a place that lies neither in ' +
        'that one nor around it',
      examples: ['file:///mnt/archive/hasty'],
    }),
  ),
  COLD_STORE_URLS: Type.Optional(
    Type.String({
      pattern: namedUrls,
      description:
        'name=URL, comma-separated, for those regions of OBJECT_STORE_URLS whose images are archived: the URLs as ' +
        'COLD_STORE_URL has them and each of a place of its own',
      examples: ['eu=s3://archive-eu?region=eu-central-1&storageClass=GLACIER_IR'],
    }),
  ),
  QUEUE_URL: Type.Optional(
    Type.String({
      pattern: '^(nats|tls)://([^/?#@\\s]+@)?[^/?#@\\s]+/?$',
      description:
        "NATS JetStream's URL, nats: or tls:, with a user and password or a token where it wants them; without it workers ask the database",
      examples: ['nats://hasty:secret@nats.example:4222'],
    }),
  ),
  INLINE_LIMIT: Type.String({
    default: '1MiB',
    pattern: '^(0|[1-9][0-9]*( ?(B|KiB|MiB|GiB))?)$',
    description:
      'a size in B, KiB, MiB or GiB: up to it a file is analysed before the answer; 0 leaves all to the worker',
    examples: ['1MiB'],
  }),
  MAX_FILE_SIZE: Type.String({
    default: '100MiB',
    pattern: byteSize,
    description: 'a size in B, KiB, MiB or GiB: the most that one part may have',
    examples: ['100MiB'],
  }),
  MAX_FILES: Type.Integer({
    default: 20,
    minimum: 1,
    maximum: 1000,
    description: 'how many parts of a request are taken in, from 1 to 1000',
    examples: [20],
  }),
  ARCHIVE_AFTER: Type.Optional(
    Type.String({
      pattern: duration,
      description:
        'an ISO 8601 duration longer than nothing: what nobody asked for in that time moves to COLD_STORE_URL, which must be set',
      examples: ['P90D'],
    }),
  ),
  DELETE_AFTER: Type.Optional(
    Type.String({
      pattern: duration,
      description: 'an ISO 8601 duration longer than nothing: what nobody asked for in that time is removed',
      examples: ['P2Y'],
    }),
  ),
  SWEEP_GRACE: Type.String({
    default: 'PT1H',
    pattern: duration,
    description:
      'an ISO 8601 duration of at least a second, longer than the longest upload takes: an object without a row is left alone for that time',
    examples: ['PT1H'],
  }),
  CORRUPT_GRACE: Type.String({
    default: 'P7D',
    pattern: duration,
    description: 'an ISO 8601 duration: a damaged image is kept for that time',
    examples: ['P7D'],
  }),
  ACCEPT: Type.Optional(
    Type.String({
      pattern: `^${mediaType}( *, *${mediaType})*$`,
      description:
        'a comma-separated list of media types of images that are known (docs/formats.md): only those are taken in',
      examples: ['image/jpeg,image/png'],
    }),
  ),
  PUBLIC_METADATA: Type.Enum(['all', 'none'], {
    default: 'all',
    description:
      'all, or none to serve images without Exif, XMP and IPTC, and only those of which it can be taken out',
    examples: ['none'],
  }),
  API_PROCESSES: Type.String({
    default: '1',
    pattern: '^(auto|[1-9]|[1-5][0-9]|6[0-4])$',
    description: 'how many processes serve the port, from 1 to 64, or auto for one for each core',
    examples: ['auto'],
  }),
  WORKER_PROCESSES: Type.Integer({
    default: 1,
    minimum: 0,
    maximum: 64,
    description:
      'how many workers the server starts beside itself, from 0 to 64; 0 where they run on their own',
    examples: [1],
  }),
  PUBLIC_URL: Type.Optional(
    Type.String({
      pattern: '^https?://[^?#]+$',
      description: 'the URL under which clients reach the service',
      examples: ['https://images.example'],
    }),
  ),
  TRUST_PROXY: Type.String({
    default: 'false',
    minLength: 1,
    description: 'true, false, or the comma-separated addresses of the proxies whose X-Forwarded-* count',
    examples: ['10.0.0.0/8'],
  }),
  CORS_ORIGIN: Type.Optional(
    Type.String({
      pattern: '^([*]|https?://[^/?#,\\s]+( *, *https?://[^/?#,\\s]+)*)$',
      description:
        'the comma-separated origins whose pages may upload by a link and read images, or * for every page',
      examples: ['https://app.example'],
    }),
  ),
  GUESS_LIMIT: Type.Integer({
    default: 100,
    minimum: 0,
    maximum: 1_000_000,
    description:
      'how many unknown links, unknown images and wrong access tokens each an address may try in a minute, from 0 to ' +
      '1000000; 0 for no limit',
    examples: [100],
  }),
  CLIENT_TIMEOUT: Type.String({
    default: 'PT1M',
    pattern: duration,
    description:
      'an ISO 8601 duration from a second to a day: a client that in that time sends no whole header, less than 1 KiB/s ' +
      'of a body, or reads nothing of an answer is given up',
    examples: ['PT1M'],
  }),
  HIDE_DUPLICATES: Type.Enum(['true', 'false'], {
    default: 'false',
    description:
      'true or false: with true each upload becomes an image of its own, so that no sender learns what was known',
    examples: ['true'],
  }),
  LOG_LEVEL: Type.Enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'], {
    default: 'info',
    description: 'one of trace, debug, info, warn, error, fatal, silent',
    examples: ['info'],
  }),
})
export type Environment = Static<typeof Environment>
