// A plain Fastify route that responds with 304.
import Fastify from 'fastify'

const app = Fastify()
app.get('/', async () => 'ready')
app.get('/images/:id', async (_request, reply) => reply.code(304).header('etag', '"x"').send())
await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT) })
process.once('SIGTERM', () => app.close())
