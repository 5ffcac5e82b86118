import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import sharp from 'sharp'
import { examine, type Job } from './examine.ts'
import type { Answer } from './index.ts'

// The process of a decoder: it gets a job at a time, and answers it.

// WebAssembly never gives memory back. A process that has come to hold so much makes way for a new one.
const PLENTY = 2 ** 29

// There are as many of these processes as cores.
sharp.concurrency(1)

const watchdog = new Worker(new URL('./watchdog-thread.ts', import.meta.url), {
  workerData: { memory: Number(process.argv[2]), parent: process.ppid },
})
await once(watchdog, 'message')
watchdog.unref()

process.on('message', async (job: Job) => {
  const answer: Omit<Answer, 'last'> = await examine(job).then(
    (verdict) => ({ verdict }),
    (error) => ({ fault: String((error as Error).message) }),
  )
  const last = process.memoryUsage.rss() > PLENTY
  process.send!({ ...answer, last } satisfies Answer, () => last && process.disconnect())
})
process.on('disconnect', () => process.exit())
