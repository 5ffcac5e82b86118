import { readFileSync } from 'node:fs'
import t from 'tap'
import { newFolder } from '../helpers/folder.ts'
import { everyFormat } from '../helpers/make.ts'
import { send, startServer } from '../helpers/server.ts'

t.test('no upload of any format loads libvips, libheif or a parser into the API process', async (t) => {
  const env = { DATA_DIR: newFolder(t), WORKER_PROCESSES: '0' }
  const server = await startServer(t, env, { database: 'lent' })
  const link = await server.makeLink()
  for (const [name, file] of Object.entries(await everyFormat()))
    t.equal((await send(link, file)).status, 200, name)
  const maps = readFileSync(`/proc/${server.process.pid}/maps`, 'utf8')
  t.notMatch(maps, /libvips|sharp|heif/)
  t.match(maps, /node/, 'the process is the one that was asked')
})
