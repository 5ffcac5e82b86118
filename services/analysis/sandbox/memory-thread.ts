import { writeSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import { encodeMessage } from './messages.ts'

// Ends the process if it uses too much memory, or if its parent has ended. It is a thread, because a decoder can
// block the main thread for a long time.

const INTERVAL_MS = 50
const STDOUT = 1

const { memory, parent } = workerData as { memory: number; parent: number }

function check() {
  const isTooLarge = process.memoryUsage.rss() > memory
  if (isTooLarge) writeSync(STDOUT, encodeMessage({ outOfMemory: true, last: true }))
  if (isTooLarge || process.ppid !== parent) process.kill(process.pid, 'SIGKILL')
}

check()
setInterval(check, INTERVAL_MS)
parentPort!.postMessage('started')
