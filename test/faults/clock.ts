// Loaded into a process by --import: its clock jumps by the hours that the file of CLOCK_FILE says.
import { readFileSync } from 'node:fs'
import { replaceDate } from '../helpers/clock.ts'

const { now } = Date
let jump = 0
setInterval(() => {
  jump = Number(readFileSync(process.env.CLOCK_FILE!, 'utf8')) * 3_600_000
}, 20).unref()
replaceDate(() => now() + jump)
