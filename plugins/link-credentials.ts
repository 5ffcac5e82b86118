import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { Credentials } from '../services/links/passwords.ts'
import { UNLOCKED_SECONDS } from '../services/links/passwords.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The password of `Authorization: Basic` (RFC 7617), and the pass in the cookie of the upload page. */
    linkCredentials(): Credentials
  }
  interface FastifyReply {
    /** Gives the browser a pass for the link whose unlock form it has sent. */
    setLinkPass(pass: string): FastifyReply
  }
}

const COOKIE = 'hasty-link'

/** Reads and writes what a client shows to use a link with a password. */
export default fp(
  async (app) => {
    app.decorateRequest('linkCredentials', function () {
      const { authorization, cookie } = this.headers
      return {
        password: authorization === undefined ? undefined : passwordIn(authorization),
        pass: cookie === undefined ? undefined : passIn(cookie),
      }
    })
    app.decorateReply('setLinkPass', function (pass) {
      // Without a Path, the cookie is sent to the folder of the form's URL alone: the link, below the path of any proxy
      // (RFC 6265 §5.1.4).
      const secure = isSecure(this.request, app.config.publicUrl) ? '; Secure' : ''
      return this.header(
        'Set-Cookie',
        `${COOKIE}=${pass}; Max-Age=${UNLOCKED_SECONDS}; HttpOnly; SameSite=Lax${secure}`,
      )
    })
  },
  { name: 'link-credentials', dependencies: ['config'] },
)

const isSecure = ({ protocol }: FastifyRequest, publicUrl: string) =>
  protocol === 'https' || publicUrl.startsWith('https:')

function passwordIn(authorization: string) {
  const [, encoded] = /^Basic +([A-Za-z0-9+/_=-]+) *$/i.exec(authorization) ?? []
  if (encoded === undefined) return undefined
  const text = Buffer.from(encoded, 'base64').toString('utf8')
  const colon = text.indexOf(':')
  return colon < 0 ? undefined : text.slice(colon + 1)
}

const passIn = (cookie: string) =>
  cookie
    .split(/; */)
    .find((pair) => pair.startsWith(`${COOKIE}=`))
    ?.slice(COOKIE.length + 1)
