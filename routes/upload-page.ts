import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { formatNames } from '../schemas/formats.ts'
import { IdParams } from '../schemas/ids.ts'
import { Unlock, UploadLink } from '../schemas/links.ts'
import { networksOf } from '../services/access/address.ts'
import {
  Busy,
  InvalidRequest,
  LinkExpired,
  LinkNotFound,
  LinkNotOpen,
  LinkRevoked,
  LinkUsedUp,
  PasswordRequired,
  type Problem,
  TooLarge,
  TooManyFailedLookups,
  UnsupportedContentEncoding,
  UnsupportedMediaType,
  WrongPassword,
} from '../services/errors.ts'
import { type ServiceLimits, showToSender } from '../services/links/index.ts'
import { renderUnlock, renderUpload } from '../web/upload/page.ts'
import { problems } from './problems.ts'

const MAX_FORM_BYTES = 4 * 1024

const ofLink = [
  LinkNotFound,
  LinkNotOpen,
  LinkExpired,
  LinkRevoked,
  LinkUsedUp,
  PasswordRequired,
  WrongPassword,
  TooManyFailedLookups,
  Busy,
]

/** The page on which a person sends images, and what it shows as JSON. */
export default (async (app) => {
  const { links, passwords } = app.services
  const limits: ServiceLimits = {
    accept: app.config.accept ?? new Set(Object.keys(formatNames)),
    maxFileSize: app.config.maxFileSize,
    maxFiles: app.config.maxFiles,
  }
  app.limitFailedLookups('link')
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(
    'application/x-www-form-urlencoded',
    { parseAs: 'string', bodyLimit: MAX_FORM_BYTES },
    (_request, body, done) => done(null, Object.fromEntries(new URLSearchParams(String(body)))),
  )

  app.get(
    '/uploads/:id',
    {
      schema: {
        tags: ['uploads'],
        operationId: 'readUploadLink',
        summary: 'Read what a link asks for and accepts',
        description:
          'For programs, before a byte is sent. A browser (`Accept: text/html`) gets the upload page. A link that is not ' +
          'open gets the error that an upload would get.',
        params: IdParams,
        response: {
          200: {
            description: 'The link is open.',
            content: {
              'application/json': { schema: UploadLink },
              'text/html': { schema: Type.String({ description: 'The upload page.' }) },
            },
          },
          ...problems(...ofLink),
        },
      },
    },
    async (request, reply) => {
      const link = await links.requireOpen(request.params.id)
      try {
        await passwords.require(link, request.linkCredentials(), networksOf(request.ip)[0]!)
      } catch (error) {
        if (request.wantsPage() && isProblem(error)) return sendUnlock(error, request, reply)
        throw error
      }
      const shown = showToSender(link, limits)
      reply.header('Cache-Control', 'no-store').header('Vary', 'Accept')
      if (!request.wantsPage()) return shown
      const language = request.pageLanguage()
      return reply.sendPage({ name: 'upload', ...renderUpload({ link: shown, id: link.id, language }) })
    },
  )

  app.post(
    '/uploads/:id/unlock',
    {
      schema: {
        tags: ['uploads'],
        operationId: 'unlockLink',
        summary: 'Unlock a link in a browser',
        description:
          'The form of the upload page sends the password. The response sets a cookie for this link, and leads a ' +
          'browser back to the page. Programs send `Authorization: Basic` with each request instead.',
        params: IdParams,
        consumes: ['application/x-www-form-urlencoded'],
        body: Unlock,
        response: {
          204: Type.Null({ description: 'The link is unlocked.' }),
          303: Type.Null({ description: 'The link is unlocked. A browser is led back to the page.' }),
          ...problems(InvalidRequest, TooLarge, UnsupportedContentEncoding, UnsupportedMediaType, ...ofLink),
        },
      },
    },
    async (request, reply) => {
      const link = await links.requireOpen(request.params.id)
      try {
        const { password } = request.body
        await passwords.require(link, { password }, networksOf(request.ip)[0]!)
      } catch (error) {
        if (request.wantsPage() && isProblem(error)) return sendUnlock(error, request, reply)
        throw error
      }
      if (link.passwordHash !== null) reply.setLinkPass(passwords.pass(link))
      if (!request.wantsPage()) return reply.code(204).send(null)
      // Relative, because a proxy may have stripped a path.
      return reply.code(303).header('Location', `../${link.id}`).send(null)
    },
  )
}) satisfies FastifyPluginAsyncTypebox

const isProblem = (error: unknown): error is Problem =>
  error instanceof PasswordRequired || error instanceof WrongPassword || error instanceof TooManyFailedLookups

/** Sends the form that asks for the password, with the reason why the last one was refused. */
function sendUnlock(
  error: Problem,
  request: FastifyRequest<{ Params: { id: string } }>,
  reply: FastifyReply,
) {
  if (error.status === 429) reply.header('Retry-After', 60)
  else reply.header('WWW-Authenticate', 'Form realm="link", charset="UTF-8"')
  const isForm = request.method === 'POST'
  return reply.code(error.status).sendPage({
    name: 'shared',
    ...renderUnlock({
      action: isForm ? 'unlock' : `${request.params.id}/unlock`,
      fault: error.name === 'PasswordRequired' ? undefined : error.name,
      language: request.pageLanguage(),
    }),
  })
}
