import type { IncomingMessage, ServerResponse } from 'node:http'
import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { ExpectationFailed, InvalidRequest, UnsupportedContentEncoding } from '../services/errors.ts'
import { receiveBody } from './delivery.ts'
import { sendRawProblem } from './errors.ts'

const NO_HOST = { detail: 'Send a Host header field (RFC 9112 §3.2).' }

/** Rules of HTTP that Node and Fastify leave out, or for whose violation they send a response without a body. */
export default fp(
  async (app) => {
    app.server.on('checkExpectation', (_request: IncomingMessage, response: ServerResponse) =>
      sendRawProblem(new ExpectationFailed(), response),
    )

    let mayWarn = app.config.trustProxy === false
    app.addHook('onRequest', (request, reply, done) => {
      const { headers, method, raw } = request
      if (headers.host === undefined && raw.httpVersion === '1.1') {
        reply.hijack()
        receiveBody(raw).then(() => sendRawProblem(new InvalidRequest(NO_HOST), reply.raw))
        return
      }
      if (mayWarn && headers['x-forwarded-for'] !== undefined) {
        mayWarn = false
        request.log.warn(
          'X-Forwarded-For was received, but TRUST_PROXY is false: all clients of a proxy count as one address. ' +
            'If there is a proxy, set TRUST_PROXY to its address.',
        )
      }
      const coding = headers['content-encoding']
      if (
        coding !== undefined &&
        (method === 'POST' || method === 'PATCH') &&
        coding.toLowerCase() !== 'identity'
      ) {
        reply.header('Accept-Encoding', 'identity') // RFC 9110 §12.5.3
        return done(new UnsupportedContentEncoding())
      }
      if (method === 'DELETE' && isEmpty(request)) delete headers['content-type']
      done()
    })
  },
  { name: 'protocol', dependencies: ['config', 'errors'] },
)

/** Some clients send the Content-Type of an empty body. There is nothing to parse then. */
const isEmpty = ({ headers }: FastifyRequest) =>
  headers['transfer-encoding'] === undefined && Number(headers['content-length'] ?? 0) === 0
