import { readSync, writeSync } from 'node:fs'
import { constants, getPriority, setPriority } from 'node:os'
import { Worker } from 'node:worker_threads'
import { examine } from './examine.ts'
import { makeVariant } from './make-variant.ts'
import { type Answer, encodeMessage, type Job, LENGTH_BYTES } from './messages.ts'

// The sandboxed process. It reads jobs from standard input, one at a time, and writes an answer to each to standard
// output. It reads without the event loop: nothing else has to happen meanwhile, and the bytes are copied only once.

const STDIN = 0
const STDOUT = 1
// WebAssembly never releases memory. A process that uses this many bytes is replaced by a new one.
const REPLACE_ABOVE_BYTES = 2 ** 29

const [task, memory] = process.argv.slice(2) as [Job['task'], string]

// Uploads and downloads have priority over the worker's decoders. A client waits for the result of `read`.
if (task === 'examine') lowerPriority(constants.priority.PRIORITY_LOW)
if (task === 'render') lowerPriority(constants.priority.PRIORITY_BELOW_NORMAL)
if (task !== 'read') await startMemoryThread()
const { default: sharp } = await import('sharp')
// There are as many of these processes as cores.
sharp.concurrency(1)
send({ ready: true })

for (let job = receive(); job; job = receive()) {
  const { content, ...answer } = await run(job)
  const last = process.memoryUsage.rss() > REPLACE_ABOVE_BYTES
  send({ ...answer, last })
  if (content) write(content)
  if (last) break
}
process.exit()

/** Lowers the priority of this process. A service that runs with a lower one already cannot raise it. */
function lowerPriority(priority: number) {
  if (getPriority() < priority) setPriority(priority)
}

/** Ends the process if it uses too much memory. For `read` the time limit is enough, and a thread takes 0.1 s to start. */
async function startMemoryThread() {
  const thread = new Worker(new URL('./memory-thread.ts', import.meta.url), {
    workerData: { memory: Number(memory), parent: process.ppid },
    // Otherwise Node opens process.stdout, which makes standard output non-blocking: a long answer then fails with EAGAIN.
    stdout: true,
    stderr: true,
  })
  await new Promise((resolve) => thread.once('message', resolve))
  thread.unref()
}

/** The bytes that follow the answer are in `content`. */
async function run({ size, ...job }: Job): Promise<Answer & { content?: Buffer }> {
  const bytes = size === undefined ? undefined : receiveBytes(size)
  if (size !== undefined && !bytes) process.exit()
  try {
    if (job.task === 'render') return await makeVariant(job, bytes)
    return { verdict: await examine(job, bytes, (header) => send({ header })) }
  } catch (error) {
    return { fault: String((error as Error).message).slice(0, 1_000) }
  }
}

/** The next job; undefined if the parent closed the pipe or has ended. */
function receive(): Job | undefined {
  const length = receiveBytes(LENGTH_BYTES)?.readUInt32BE()
  const text = length === undefined ? undefined : receiveBytes(length)
  return text && JSON.parse(text.toString())
}

function receiveBytes(length: number): Buffer | undefined {
  const bytes = Buffer.allocUnsafeSlow(length)
  for (let filled = 0; filled < length; ) {
    const count = readSync(STDIN, bytes, filled, length - filled, null)
    if (count === 0) return undefined
    filled += count
  }
  return bytes
}

function send(answer: Answer) {
  write(encodeMessage(answer))
}

function write(bytes: Buffer) {
  for (let sent = 0; sent < bytes.length; ) sent += writeSync(STDOUT, bytes, sent)
}
