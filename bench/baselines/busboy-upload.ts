// The minimum of an upload service: busboy, SHA-256, a file, fdatasync, one INSERT with the same driver.
import { createHash, randomUUID } from 'node:crypto'
import { open } from 'node:fs/promises'
import { createServer, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { Busboy } from '@fastify/busboy'
import { connect } from '../../stores/data/connect.ts'

const { PORT, FOLDER, DATABASE_URL } = process.env
const { sql, close } = await connect({ databaseUrl: DATABASE_URL, dataDir: FOLDER! }, { attach: false })
await sql`create table if not exists files (id text primary key, hash text not null, size bigint not null)`

const server = createServer(async (request, response) => {
  if (request.method === 'GET') return response.end()
  const file = await receive(await firstFile(request))
  await sql`insert into files ${sql(file)}`
  const body = JSON.stringify(file)
  return response.writeHead(200, { 'content-length': body.length }).end(body)
}).listen(Number(PORT), '127.0.0.1')

process.once('SIGTERM', async () => {
  server.close()
  server.closeAllConnections()
  await close()
})

function firstFile(request: IncomingMessage) {
  return new Promise<Readable>((resolve) => {
    const busboy = Busboy({ headers: request.headers as { 'content-type': string } })
    busboy.once('file', (_name, file) => resolve(file))
    request.pipe(busboy)
  })
}

async function receive(source: Readable) {
  const id = randomUUID()
  const hash = createHash('sha256')
  let size = 0
  const file = await open(join(FOLDER!, id), 'wx', 0o600)
  for await (const chunk of source) {
    hash.update(chunk)
    size += chunk.length
    await file.write(chunk)
  }
  await file.datasync()
  await file.close()
  return { id, hash: hash.digest('hex'), size }
}
