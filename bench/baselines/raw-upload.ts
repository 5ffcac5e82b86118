// Receives a raw body, not multipart: SHA-256, a file, a flush, and nothing else.
import { createHash, randomUUID } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'

const { PORT, FOLDER } = process.env

createServer(async (request, response) => {
  if (request.method === 'GET') return response.end()
  const hash = createHash('sha256')
  request.on('data', (chunk) => hash.update(chunk))
  // `flush` calls fsync before the file is closed.
  await pipeline(request, createWriteStream(join(FOLDER!, randomUUID()), { flags: 'wx', flush: true }))
  const body = hash.digest('hex')
  return response.writeHead(200, { 'content-length': body.length }).end(body)
}).listen(Number(PORT), '127.0.0.1')
