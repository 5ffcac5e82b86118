import { setTimeout as sleep } from 'node:timers/promises'
import { admin, build, makeLink, objectsOf } from '../helpers/app.ts'
import { closed, openConnection } from '../helpers/connection.ts'
import { eachDatabase } from '../helpers/databases.ts'
import { makePadded } from '../helpers/images.ts'
import { keysOf } from '../helpers/lifecycle.ts'
import { multipart } from '../helpers/multipart.ts'
import { times } from '../helpers/tiers.ts'

const POSTS = 50

eachDatabase(
  async (t, env) => {
    const app = await build(t, env)
    const image = () => makePadded(1_000)
    const post = async (url: string, body: Buffer) => {
      const answer = await app.inject({ method: 'POST', url, ...multipart([{ body }]) })
      return { status: answer.statusCode, ...(answer.json() as Answer) }
    }
    const readLink = async (url: string) => {
      const answer = await app.inject({
        url: url.replace('/uploads/', '/admin/ephemeral-links/'),
        headers: admin,
      })
      return answer.json() as { uploads: number; bytes: number; status: string }
    }

    await t.test(`${POSTS} equal images at once are one`, async (t) => {
      for (let round = 0; round < times(1, 10); round++) {
        const before = await keysOf(objectsOf(app))
        const [body, link] = [await image(), await makeLink(app)]
        const answers = await Promise.all(Array.from({ length: POSTS }, () => post(link, body)))
        const ids = new Set(answers.map(({ processed }) => processed?.[0]?.id))
        t.equal(ids.size, 1)
        t.equal(answers.filter(({ processed }) => processed?.[0]?.duplicate === false).length, 1)
        const left = (await keysOf(objectsOf(app))).filter((key) => !before.includes(key))
        t.strictSame(left, [...ids], 'and one object is left')
        t.equal((await readLink(link)).uploads, POSTS)
      }
    })

    await t.test(`a limit is not exceeded by one under ${POSTS} posts at once`, async (t) => {
      for (let round = 0; round < times(1, 10); round++) {
        const bodies = await Promise.all(Array.from({ length: POSTS }, image))
        const size = Math.max(...bodies.map(({ length }) => length))
        for (const limit of [{ maxImages: 7 }, { maxBytes: size * 7 }]) {
          const before = (await keysOf(objectsOf(app))).length
          const link = await makeLink(app, { sinceNow: 'PT1H', ...limit })
          // A third of them are of one content: a duplicate takes room, too.
          const answers = await Promise.all(
            bodies.map((body, n) =>
              post(link, n % 3 ? Buffer.concat([body, Buffer.from(`${n}`)]) : bodies[0]!),
            ),
          )
          const taken = answers.filter(({ status }) => status === 200)
          const { uploads, bytes, status } = await readLink(link)
          t.equal(uploads, taken.length)
          if ('maxImages' in limit) {
            t.equal(taken.length, 7)
            t.equal(status, 'used_up')
          } else {
            t.ok(bytes <= limit.maxBytes!, `${bytes} of ${limit.maxBytes}`)
            t.ok(taken.length >= 6, `${taken.length} of them had room`)
          }
          t.strictSame(
            new Set(answers.filter(({ status }) => status !== 200).map(({ type }) => type)),
            new Set(['urn:hasty:problem:link-used-up']),
          )
          const fresh = new Set(
            taken
              .filter(({ processed }) => !processed?.[0]?.duplicate)
              .map(({ processed }) => processed?.[0]?.id),
          )
          t.equal(
            (await keysOf(objectsOf(app))).length - before,
            fresh.size,
            'no object is left of the others',
          )
        }
      }
    })

    await t.test('a part that began before the link expired is accepted, and no later one', async (t) => {
      const [body, late] = [await image(), await image()]
      const { payload, headers } = multipart([{ body }])
      const link = await makeLink(app)
      const id = link.slice('/uploads/'.length)
      await app.listen({ port: 0, host: '127.0.0.1' })
      const { port } = app.server.address() as { port: number }
      const { send, answer, socket } = await openConnection(port)
      await app.stores.data
        .sql`update links set expires_at = now() + interval '700 milliseconds' where id = ${id}`
      await send(
        `POST ${link} HTTP/1.1\r\nHost: hasty\r\nContent-Length: ${payload.length}\r\n` +
          `Content-Type: ${headers['content-type']}\r\n\r\n`,
      )
      await send(payload.subarray(0, 400))
      await sleep(1_000)
      t.equal((await post(link, late)).status, 410)
      await send(payload.subarray(400))
      t.equal((await answer()).statusCode, 200)
      socket.end()
      await closed(socket)
      t.equal((await readLink(link)).uploads, 1)
    })
  },
  { serializable: true },
)

interface Answer {
  type?: string
  processed?: { id: string; duplicate: boolean }[]
}
