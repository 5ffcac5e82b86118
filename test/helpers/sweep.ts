import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'

const SWEEP = fileURLToPath(new URL('../../sweep.ts', import.meta.url))

/** Starts `sweep.ts`. `ended` resolves with its exit code and its output. */
export function startSweep(t: Test, env: Record<string, string>, args: string[] = []) {
  const child = spawn(process.execPath, [SWEEP, ...args], {
    env: { ...process.env, NODE_OPTIONS: '', SWEEP_GRACE: 'PT1S', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  let output = ''
  let peakMiB = 0
  const watching = setInterval(() => {
    try {
      const [, kB] = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8')) ?? []
      peakMiB = Math.max(peakMiB, Number(kB ?? 0) / 1024)
    } catch {}
  }, 20)
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (output += data))
  const ended = once(child, 'close').then(([code, signal]) => {
    clearInterval(watching)
    return { code, signal, output, peakMiB }
  })
  return { child, ended, output: () => output }
}

/** The summary that a sweep has logged; empty where it has not. */
export const summaryOf = (output: string) =>
  JSON.parse(output.split('\n').find((line) => /"sweep finished/.test(line)) ?? '{}')
