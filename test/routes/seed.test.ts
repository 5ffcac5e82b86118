import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { promisify } from 'node:util'
import t from 'tap'
import { build } from '../helpers/app.ts'
import { makeImage } from '../helpers/images.ts'

// The calls of the README of hasty-demo, word for word, but for the port and the link.

const run = promisify(execFile)
const hasCurl = await run('curl', ['--version']).then(
  () => true,
  () => false,
)

t.test(
  'the curl lines of hasty-demo work unchanged',
  { skip: !hasCurl && 'curl is not installed' },
  async (t) => {
    const app = await build(t, { ACCESS_TOKEN: 'foobar' })
    await app.listen({ port: 0, host: '127.0.0.1' })
    const { port } = app.server.address() as AddressInfo
    const folder = t.testdir()
    writeFileSync(`${folder}/sample.png`, await makeImage('png'))
    writeFileSync(`${folder}/sample.jpg`, await makeImage('jpeg'))
    const curl = async (line: string) => {
      const command = line.replaceAll('localhost:3000', `127.0.0.1:${port}`)
      const { stdout } = await run('sh', ['-c', command.replace(/^curl/, 'curl -sS -w "\\n%{http_code}"')], {
        cwd: folder,
      })
      const [, body = '', status] = /^(.*)\n(\d+)$/s.exec(stdout) ?? []
      return { status: Number(status), body: JSON.parse(body) }
    }

    const link = await curl(
      `curl -H "X-Access-Token: foobar" -d '{"sinceNow": "PT1H"}' http://localhost:3000/admin/ephemeral-links`,
    )
    t.equal(link.status, 201)
    t.match(link.body, { relativePath: /^\/uploads\//, expiresOn: /^\d{4}-/ })

    const upload = await curl(
      `curl -F "image=@sample.png;type=image/png" -F "image=@sample.jpg;type=image/jpeg" http://localhost:3000${link.body.relativePath}`,
    )
    t.equal(upload.status, 200)
    t.match(upload.body.processed, [{ name: 'sample.png' }, { name: 'sample.jpg' }])

    const stats = await curl('curl -H "X-Access-Token: foobar" http://localhost:3000/admin/stats')
    t.equal(stats.status, 200)
    t.equal(stats.body.uploadFrequency30Days[0].uploads, 2)
  },
)
