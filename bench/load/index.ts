import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import type { DecodeLoop } from '../baselines/decode-loop.ts'
import { Missing } from '../harness.ts'
import type { ResumableLoad } from './resumable.ts'
import type { SlowReaders } from './slow-readers.ts'
import type { UploadLoad, UploadReport } from './uploads.ts'

/** Uploads from a separate process. */
export async function upload(load: UploadLoad): Promise<UploadReport> {
  return JSON.parse(await runScript('uploads.ts', load))
}

/** Uploads one file by tus from a separate process. Resolves with the seconds. */
export async function uploadResumably(load: ResumableLoad): Promise<number> {
  return Number(await runScript('resumable.ts', load))
}

/** Uploads slowly from a separate process, stops, and resolves with the number of sent bytes. */
export async function uploadSlowly(load: UploadLoad & { untilSeconds: number }): Promise<number> {
  return Number(await runScript('uploads.ts', load))
}

/** Reads slowly from a separate process, and resolves with the number of received bytes. */
export async function readSlowly(load: SlowReaders): Promise<number> {
  return Number(await runScript('slow-readers.ts', load))
}

/** Decodes files in a separate process, and resolves with the files per second. */
export async function decodeInLoop(loop: DecodeLoop): Promise<number> {
  return Number(await runScript('../baselines/decode-loop.ts', loop))
}

/** Makes variants in a separate process, and resolves with the files per second. */
export async function renderInLoop(loop: DecodeLoop): Promise<number> {
  return Number(await runScript('../baselines/render-loop.ts', loop))
}

const runScript = (script: string, argument: object) =>
  run(process.execPath, [fileURLToPath(new URL(script, import.meta.url)), JSON.stringify(argument)])

/** Requests a URL repeatedly from a separate process, and resolves with the requests per second. */
export async function get(
  url: string,
  {
    connections,
    seconds,
    headers = {},
    script,
    status = 200,
  }: {
    connections: number
    seconds: number
    headers?: Record<string, string>
    /** The path of a Lua script that creates the requests. */
    script?: string | undefined
    status?: number
  },
): Promise<number> {
  await expectStatus(url, headers, status)
  const report = await run('wrk', [
    ...['-t', '1', '-c', String(connections), '-d', `${Math.ceil(seconds)}s`],
    ...Object.entries(headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`]),
    ...(script ? ['-s', script] : []),
    url,
  ])
  if (/Non-2xx or 3xx|Socket errors/.test(report)) throw new Error(report)
  const requests = Number(/Requests\/sec:\s+([\d.]+)/.exec(report)?.[1])
  // If wrk could not read a response, the measurement is wrong.
  if (!(requests > 0)) throw new Error(`wrk counted no response from ${url}`)
  return requests
}

/** @throws {Missing} */
export function needWrk() {
  if (spawnSync('wrk', ['-v']).error) throw new Missing('wrk is not installed')
}

/** Sends one request. `fetch` is not used, because it adds `Cache-Control: no-cache` to a conditional request. */
async function expectStatus(url: string, headers: Record<string, string>, status: number) {
  const asking = request(url, { headers, agent: false }).end()
  const [answer] = (await once(asking, 'response')) as [IncomingMessage]
  answer.resume()
  await once(answer, 'end')
  if (answer.statusCode !== status) throw new Error(`${url} answered ${answer.statusCode}`)
}

async function run(command: string, args: string[]) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = once(child, 'exit')
  const output = await text(child.stdout)
  const [code] = await exited
  if (code !== 0) throw new Error(`${command} ended with ${code}`)
  return output
}
