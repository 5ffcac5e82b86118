import { parentPort, workerData } from 'node:worker_threads'
import { OUT_OF_MEMORY } from './index.ts'

// Watches over a process from a thread of its own, as its main one may be in the middle of a decoder for long.

const INTERVAL_MS = 50

const { memory, parent } = workerData as { memory: number; parent: number }

function watch() {
  if (process.memoryUsage.rss() > memory) process.kill(process.pid, OUT_OF_MEMORY)
  // Nobody is left to end it.
  if (process.ppid !== parent) process.kill(process.pid, 'SIGKILL')
}

watch()
setInterval(watch, INTERVAL_MS)
parentPort!.postMessage('watching')
