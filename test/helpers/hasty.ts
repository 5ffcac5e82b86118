import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { runCommand } from '../../bin/run-command.ts'
import { captureOutput } from './capture-output.ts'
import { NODE_COMPILE_CACHE } from './server.ts'

export const HASTY = fileURLToPath(new URL('../../bin/hasty.ts', import.meta.url))

/** The environment of a process of `npx hasty`: that of the test, and `env`. */
export const hastyEnv = (env: Record<string, string>) => ({
  ...process.env,
  NODE_OPTIONS: '',
  NODE_COMPILE_CACHE,
  ...env,
})

/** Runs `npx hasty` in a process of its own, without a terminal. */
export const runHasty = (env: Record<string, string>, ...args: string[]) =>
  new Promise<{ code: number; out: string; err: string }>((resolve) => {
    const child = execFile(process.execPath, [HASTY, ...args], { env: hastyEnv(env) }, (_error, out, err) =>
      resolve({ code: child.exitCode ?? -1, out, err }),
    )
  })

/** Runs commands in this process, without a terminal. To start a process for each would take most of the time. */
export function createCommand(env: Record<string, string>) {
  return async (...args: string[]) => {
    const before = { ...process.env }
    Object.assign(process.env, env)
    const [out, err] = [captureOutput(process.stdout), captureOutput(process.stderr)]
    try {
      const code = await runCommand(args)
      return { code, out: out.text(), err: err.text() }
    } finally {
      for (const { restore } of [out, err]) restore()
      for (const name of Object.keys(env)) delete process.env[name]
      Object.assign(process.env, before)
    }
  }
}
