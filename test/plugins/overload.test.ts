import t from 'tap'
import { createAdmission } from '../../services/uploads/admission.ts'
import { build, makeLink } from '../helpers/app.ts'
import { makeImage } from '../helpers/images.ts'
import { multipart } from '../helpers/multipart.ts'
import { isProblem } from '../helpers/problem.ts'

t.test(
  'while the event loop is overloaded, requests get 503 before their bodies are read, and probes are answered',
  async (t) => {
    const app = await build(t)
    const url = await makeLink(app)
    const upload = multipart([{ body: await makeImage() }])
    // Blocks the event loop until the plugin has measured it.
    for (let tried = 0; tried < 5 && !app.isUnderPressure(); tried++) {
      const end = performance.now() + 2_100
      while (performance.now() < end);
      await new Promise((resolve) => setTimeout(resolve, 1))
      await new Promise(setImmediate)
    }
    t.ok(app.isUnderPressure())
    const [answer, live] = await Promise.all([
      app.inject({ method: 'POST', url, ...upload }),
      app.inject('/livez'),
    ])
    isProblem(t, answer, 503, 'busy')
    t.ok(Number(answer.headers['retry-after']) > 0)
    t.equal(live.statusCode, 200)
    t.equal(app.services.uploads.counts.received, 0)
    await new Promise((resolve) => setTimeout(resolve, 1_500))
    t.equal((await app.inject({ method: 'POST', url, ...upload })).statusCode, 200, 'it recovers at once')
  },
)

t.test('a process receives a limited number of uploads, of all links together', async (t) => {
  const limits = {
    uploads: 2,
    uploadsPerLink: 9,
    uploadsPerAddress: 9,
    stagedBytes: 9,
    stagedBytesPerLink: 9,
  }
  const admission = createAdmission(limits)
  const link = (id: string) => ({ id }) as Parameters<typeof admission.enter>[0]
  const first = admission.enter(link('a'), '192.0.2.1')
  admission.enter(link('b'), '192.0.2.2')
  t.throws(() => admission.enter(link('c'), '192.0.2.3'), { name: 'Busy' })
  first.leave()
  t.doesNotThrow(() => admission.enter(link('c'), '192.0.2.3'))
})
