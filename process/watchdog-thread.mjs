import { writeSync } from 'node:fs'
import { workerData } from 'node:worker_threads'

// It is JavaScript: without a compile cache, stripping types in this thread took 10 MB more. The thread takes 15 MB.

/**
 * @type {{ name: string, beats: Int32Array, beatMs: number, blockedMs: number }} `beats` is counted up by the main
 *   thread's event loop, once in `beatMs`
 */
const { name, beats, beatMs, blockedMs } = workerData
const STDOUT = 1
const FATAL = 60

let last = 0
let missed = 0

setInterval(() => {
  const count = Atomics.load(beats, 0)
  missed = count === last ? missed + 1 : 0
  last = count
  if (missed * beatMs < blockedMs) return
  const { pid } = process
  const msg = `the event loop was blocked for ${blockedMs / 1_000} s, so the process is ended`
  try {
    writeSync(STDOUT, `${JSON.stringify({ level: FATAL, time: Date.now(), pid, name, msg })}\n`)
  } finally {
    process.kill(pid, 'SIGKILL')
  }
}, beatMs)
