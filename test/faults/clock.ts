// Loaded into a process by --import: its clock jumps by the hours that the file of CLOCK_FILE says.
import { readFileSync } from 'node:fs'

const now = Date.now
let jump = 0
setInterval(() => {
  jump = Number(readFileSync(process.env.CLOCK_FILE!, 'utf8')) * 3_600_000
}, 20).unref()
const Clock = Date
Date.now = () => now() + jump
globalThis.Date = new Proxy(Clock, {
  construct: (target, args, newTarget) =>
    Reflect.construct(target, args.length === 0 ? [now() + jump] : args, newTarget),
  apply: () => new Clock(now() + jump).toString(),
})
