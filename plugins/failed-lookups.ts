import rateLimit from '@fastify/rate-limit'
import type { FastifyInstance, FastifyReply } from 'fastify'
import fp from 'fastify-plugin'
import { type FailedLookupCount, type FailedLookups, WINDOW_MS } from '../services/access/failed-lookups.ts'
import { ImageNotFound, LinkNotFound, TooManyFailedLookups, WrongToken } from '../services/errors.ts'
import { answerProblem } from './errors.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * Slows who guesses at the routes of this scope: an address that has had too many of the errors that tell of a
     * guess is refused until the window ends. Who knows the ids and the token is never counted.
     */
    limitFailedLookups(kind: keyof typeof failures): void
  }
}

/** What the answer to a wrong guess is. */
const failures = { link: LinkNotFound, image: ImageNotFound, token: WrongToken }

export default fp(
  async (app) => {
    const { guessLimit } = app.config
    const { failedLookups } = app.services
    await app.register(rateLimit, {
      global: false,
      max: guessLimit,
      timeWindow: WINDOW_MS,
      store: storeOf(failedLookups),
    })

    app.decorate('limitFailedLookups', function (this: FastifyInstance, kind) {
      if (guessLimit === 0) return
      // Of an address of IPv6 the first 64 bits count: the rest is its owner's to choose.
      const limit = app.createRateLimit({
        keyGenerator: ({ ip }) => `${kind} ${rateLimit.normalizeIP(ip ?? '')}`,
      })

      this.addHook('onRequest', (request, reply, done) => {
        if (!failedLookups.any) return done()
        limit(request, { increment: false }).then((state) => done(refusal(state, reply)), done)
      })
      this.setErrorHandler(async (error, request, reply) => {
        const refused = error instanceof failures[kind] ? refusal(await limit(request), reply) : undefined
        answerProblem(refused ?? error, request, reply)
        return reply
      })
    })
  },
  { name: 'failed-lookups', dependencies: ['config', 'errors', 'services'] },
)

type State = Awaited<ReturnType<ReturnType<FastifyInstance['createRateLimit']>>>

function refusal(state: State, reply: FastifyReply) {
  if (state.isAllowed || !state.isExceeded) return undefined
  reply.header('Retry-After', state.ttlInSeconds) // RFC 9110 §10.2.3
  return new TooManyFailedLookups()
}

/** The store of rate-limit's counts, as it wants it: a class. All kinds are in one, each with its name in the key. */
const storeOf = (failedLookups: FailedLookups) =>
  class Store {
    incr(key: string, done: (error: Error | null, guessed: FailedLookupCount) => void) {
      done(null, failedLookups.add(key))
    }
    read(key: string, done: (error: Error | null, guessed: FailedLookupCount) => void) {
      done(null, failedLookups.of(key))
    }
    child() {
      return this
    }
  }
