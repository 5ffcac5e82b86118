// ipx (https://github.com/unjs/ipx), from the folder IPX, with the images of FOLDER. `/w_640,f_webp,q_75/NAME` is a variant. It
// stores none, so each request makes one.
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const { PORT, FOLDER, IPX } = process.env
// The package has only an entry for `import`.
const { createIPX, createIPXNodeServer, ipxFSStorage } = await import(
  pathToFileURL(`${IPX}/node_modules/ipx/dist/index.mjs`).href
)
createRequire(`${IPX}/package.json`)('sharp').concurrency(1)
const handle = createIPXNodeServer(createIPX({ storage: ipxFSStorage({ dir: FOLDER }) }))

createServer((request, response) => {
  if (request.url === '/') return response.end()
  return handle(request, response)
}).listen(Number(PORT), '127.0.0.1')
