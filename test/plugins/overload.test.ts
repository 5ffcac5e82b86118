import { createAdmission } from '../../services/uploads/admission.ts'
import { build, makeLink } from '../helpers/app.ts'
import { makeImage } from '../helpers/images.ts'
import { multipart } from '../helpers/multipart.ts'
import { isProblem } from '../helpers/problem.ts'
import { inTier } from '../helpers/tiers.ts'

/** Blocks the event loop for several samples of the plugin. */
async function block() {
  const end = performance.now() + 3_000
  while (performance.now() < end);
  await new Promise((resolve) => setTimeout(resolve, 1))
  await new Promise(setImmediate)
}

inTier.campaign(
  'while the event loop is overloaded, requests get 503 before their bodies are read, and probes are answered',
  async (t) => {
    const app = await build(t)
    const url = await makeLink(app)
    const upload = multipart([{ body: await makeImage() }])
    const send = () => app.inject({ method: 'POST', url, ...upload })
    await block()
    t.equal((await send()).statusCode, 200, 'a single pause is no overload')
    let isRefused = false
    for (let tried = 0; tried < 6 && !isRefused; tried++) {
      await block()
      isRefused = (await app.inject('/images/none')).statusCode === 503
    }
    t.ok(isRefused)
    const [answer, live] = await Promise.all([send(), app.inject('/livez')])
    isProblem(t, answer, 503, 'busy')
    t.ok(Number(answer.headers['retry-after']) > 0)
    t.equal(live.statusCode, 200)
    t.equal(app.services.uploads.counts.received, 1)
    await new Promise((resolve) => setTimeout(resolve, 1_500))
    t.equal((await send()).statusCode, 200, 'it recovers at once')
  },
)

inTier.default('a process receives a limited number of uploads, of all links together', async (t) => {
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
