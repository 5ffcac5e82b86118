import cors from '@fastify/cors'
import fp from 'fastify-plugin'

const PREFLIGHT_SECONDS = 600

/** The fields of resumable uploads that the script of a page may read. */
const RESUMABLE_FIELDS = [
  'Location',
  'Tus-Checksum-Algorithm',
  'Tus-Extension',
  'Tus-Max-Size',
  'Tus-Resumable',
  'Tus-Version',
  'Upload-Complete',
  'Upload-Defer-Length',
  'Upload-Draft-Interop-Version',
  'Upload-Expires',
  'Upload-Length',
  'Upload-Limit',
  'Upload-Metadata',
  'Upload-Offset',
]

/** The route answers OPTIONS itself, with the limits, also if it is a preflight. */
const isResumable = (url: string) => /^\/uploads\/[^/]+\/files/.test(url)

/**
 * Allows pages of the origins in CORS_ORIGIN to upload by a link and to read images
 * (https://fetch.spec.whatwg.org/#http-cors-protocol). The admin's calls are never allowed: a page must not hold an
 * access token.
 */
export default fp(
  async (app) => {
    const { corsOrigins } = app.config
    if (corsOrigins.length === 0) return
    const allowed = {
      origin: corsOrigins.includes('*') ? '*' : corsOrigins,
      methods: ['GET', 'HEAD', 'POST', 'PATCH', 'DELETE'],
      exposedHeaders: ['Content-Range', 'ETag', 'Retry-After', ...RESUMABLE_FIELDS],
      maxAge: PREFLIGHT_SECONDS,
      strictPreflight: false, // its refusal would not be problem details (RFC 9457)
    }
    await app.register(cors, {
      delegator: ({ url }, done) =>
        done(
          null,
          /^\/(uploads|images)\//.test(url)
            ? { ...allowed, preflightContinue: isResumable(url) }
            : { origin: false },
        ),
    })
  },
  { name: 'cors', dependencies: ['config', 'errors'] },
)
