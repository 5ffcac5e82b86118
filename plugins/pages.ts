import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import accepts from '@fastify/accepts'
import files from '@fastify/static'
import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { renderDocument } from '../web/shared/document.ts'
import type { Html } from '../web/shared/html.ts'
import { type Language, languages } from '../web/shared/languages.ts'
import type { Manifest } from '../web/shared/manifest.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Whether the client prefers HTML to JSON: a browser does, a program does not. */
    wantsPage(): boolean
    /** The language of the pages that the client prefers. */
    pageLanguage(): Language
  }
  interface FastifyReply {
    /** Sends a page of `web/`. The status is set before. */
    sendPage(page: Page): FastifyReply
  }
}

export interface Page {
  /** Its folder in `web/`. `shared` has a style and no script. */
  name: string
  title: string
  body: Html
  /** The page needs no script. */
  isStatic?: boolean
}

const DIST = fileURLToPath(new URL('../web/dist/', import.meta.url))
const YEAR_MS = 365 * 86_400_000
// Compression of a page that fits into one packet would only cost time.
const MIN_COMPRESSED = 1_400

/** Serves the pages of `web/` and their built files. */
export default fp(
  async (app) => {
    await app.register(accepts)
    const { icon, pages } = readManifest()
    if (!pages.shared) app.log.warn('The pages are not built, so they have no style. Run: npm run build')
    else await serveFiles()

    app.decorateRequest('wantsPage', function () {
      return this.headers.accept !== undefined && this.accepts().type(['json', 'html']) === 'html'
    })
    app.decorateRequest('pageLanguage', function () {
      return (this.accepts().language([...languages]) || languages[0]) as Language
    })
    app.decorateReply('sendPage', function ({ name, title, body, isStatic = false }) {
      const { style, policy, scripts } = pages[name] ?? EMPTY
      const document = renderDocument({
        language: this.request.pageLanguage(),
        title,
        root: rootOf(this.request),
        icon,
        style,
        scripts: isStatic ? [] : scripts,
        body,
      })
      this.headers({
        'Cache-Control': 'no-store',
        'Content-Security-Policy': policy,
        'Cross-Origin-Opener-Policy': 'same-origin',
        'Referrer-Policy': 'no-referrer',
        Vary: 'Accept, Accept-Language, Accept-Encoding',
        'X-Content-Type-Options': 'nosniff',
        'X-Frame-Options': 'DENY',
      })
      this.type('text/html; charset=utf-8')
      return sendCompressed(this, document)
    })

    /** The built files. The name of each contains a hash of its content. */
    function serveFiles() {
      return app.register(files, {
        root: `${DIST}assets/`,
        prefix: '/assets/',
        preCompressed: true,
        immutable: true,
        maxAge: YEAR_MS,
        index: false,
        decorateReply: false,
        setHeaders(reply) {
          reply.header('X-Content-Type-Options', 'nosniff')
          reply.header('Cross-Origin-Resource-Policy', 'same-origin')
        },
      })
    }
  },
  { name: 'pages', dependencies: ['config'] },
)

interface BuiltPage {
  style: string
  policy: string
  scripts: string[]
}

function readManifest(): { icon: string; pages: Record<string, BuiltPage> } {
  const path = `${DIST}manifest.json`
  if (!existsSync(path)) return { icon: '', pages: {} }
  const { icon, pages } = JSON.parse(readFileSync(path, 'utf8')) as Manifest
  const read = ([name, { style: file, scripts }]: [string, Manifest['pages'][string]]) => {
    const style = readFileSync(`${DIST}assets/${file}`, 'utf8').trim()
    return [name, { style, policy: policyFor(style), scripts }]
  }
  return { icon, pages: Object.fromEntries(Object.entries(pages).map(read)) }
}

/**
 * The Content-Security-Policy of a page: its own scripts and its own style, and no other host. With Trusted Types, no
 * script can insert a text as HTML (https://www.w3.org/TR/trusted-types/).
 */
function policyFor(style: string) {
  const hash = createHash('sha256').update(style).digest('base64')
  return [
    "default-src 'none'",
    "script-src 'self'",
    `style-src 'sha256-${hash}'`,
    "img-src 'self' blob:",
    "connect-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; ')
}

const EMPTY: BuiltPage = { style: '', policy: policyFor(''), scripts: [] }

/** The relative path from the URL of a request to the root of the service, because a proxy may have stripped a path. */
function rootOf({ url }: FastifyRequest) {
  const [path = ''] = url.split('?', 1)
  return '../'.repeat(path.split('/').length - 2) || './'
}

function sendCompressed(reply: FastifyReply, document: string) {
  const isCompressed =
    document.length >= MIN_COMPRESSED && reply.request.accepts().encoding(['gzip']) === 'gzip'
  if (!isCompressed) return reply.send(document)
  return reply.header('Content-Encoding', 'gzip').send(gzipSync(document))
}
