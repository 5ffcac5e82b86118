// The process that creates an embedded database in the folder of its argument, and ends.
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'

// If the process that waits for the database is killed, this one ends at once: the next one deletes its files, and then
// PostgreSQL would try to read them forever. PGlite blocks its thread, so this thread must be another one.
process.once('disconnect', end)
if (!process.connected) end()

const thread = new Worker(fileURLToPath(new URL('./thread.ts', import.meta.url)), {
  workerData: { folder: process.argv[2] },
})
thread.once('exit', (code) => process.exit(code))

function end() {
  process.kill(process.pid, 'SIGKILL')
}
