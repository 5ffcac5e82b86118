import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { networksOf } from '../services/access/address.ts'
import { ImageNotFound, LinkNotFound, TooManyFailedLookups, WrongToken } from '../services/errors.ts'
import { sendProblem } from './errors.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * Counts the failed look-ups of one kind in the routes of this scope, by the client's network. Above GUESS_LIMIT a
     * failed look-up gets 429 instead of its usual error. A valid id or token is never refused or counted: other clients
     * may share the address.
     */
    limitFailedLookups(kind: keyof typeof failures): void
  }
}

/** The error of a failed look-up. */
const failures = { link: LinkNotFound, image: ImageNotFound, token: WrongToken }

// The second network of an IPv6 address, its /48, may belong to one client or to many.
const FACTOR_OF_WIDER_NETWORK = 10

export default fp(
  async (app) => {
    const { failedLookupLimit } = app.config
    const { failedLookups } = app.services

    /** Counts a failed look-up. Returns how many milliseconds the client has to wait, 0 if it is within the limit. */
    function count(kind: string, { ip }: FastifyRequest) {
      const waits = networksOf(ip).map((network, level) => {
        const { current, ttl } = failedLookups.add(`${kind} ${network}`)
        return current > failedLookupLimit * FACTOR_OF_WIDER_NETWORK ** level ? ttl : 0
      })
      return Math.max(...waits)
    }

    app.decorate('limitFailedLookups', function (this: FastifyInstance, kind) {
      if (failedLookupLimit === 0) return
      this.setErrorHandler((error, request, reply) => {
        const wait = error instanceof failures[kind] ? count(kind, request) : 0
        sendProblem(wait > 0 ? tooMany(wait, reply) : error, request, reply)
      })
    })
  },
  { name: 'failed-lookups', dependencies: ['config', 'errors', 'services'] },
)

function tooMany(milliseconds: number, reply: FastifyReply) {
  reply.header('Retry-After', Math.ceil(milliseconds / 1000)) // RFC 9110 §10.2.3
  reply.removeHeader('WWW-Authenticate')
  return new TooManyFailedLookups()
}
