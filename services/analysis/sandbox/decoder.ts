import {
  type ChildProcess,
  type ChildProcessByStdio,
  type SpawnOptionsWithStdioTuple,
  spawn,
} from 'node:child_process'
import { once } from 'node:events'
import { constants } from 'node:os'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import type { Format } from '../../../formats/format.ts'
import type { Rendered, RenderRequest } from '../../../formats/render/request.ts'
import type { Metadata } from '../../../schemas/images.ts'
import type { Verdict } from '../../../stores/data/interfaces/image-leases.ts'
import { decoderEnds } from '../../../stores/telemetry.ts'
import { type Answers, InvalidAnswer, readAnswers } from './answers.ts'
import { type Sandbox, searchPath } from './levels.ts'
import { type Answer, encodeMessage, type Job, type Task } from './messages.ts'
import { createSender, type SentContent, sizeOf } from './send.ts'

const CHILD = fileURLToPath(new URL('./child.ts', import.meta.url))
const MAX_STDERR_BYTES = 2_000

/**
 * A file for a decoder: its bytes in pieces, or an open file. A `file` is read here and sent to the process. A
 * `descriptor` is passed to a process of its own.
 */
export type FileContent = SentContent | { descriptor: number }

/** The file took longer than the limit. */
export class DecoderTimeout extends Error {
  override name = 'DecoderTimeout'
  /** The metadata of the header, if the process had read it. */
  metadata?: Metadata
}

/** The file took more memory than the limit. */
export class OutOfMemory extends Error {
  override name = 'OutOfMemory'
}

/**
 * A sandboxed process that reads one file at a time. The caller continues even if a file crashes the process. The
 * process is started by the first file, or by `start`, and again after it ended.
 */
export interface Decoder {
  /** Starts the process, if it is not running. Resolves when it can take a file, and rejects if it cannot be started. */
  start(): Promise<void>

  /**
   * Reads or decodes a file. If it takes too much memory, the verdict is `failed`.
   *
   * @param milliseconds the longest time, including the start of the process if that is still necessary
   * @throws {DecoderTimeout} the process was ended
   * @throws {Error} the process ended, or could not read the file
   */
  run(format: Format, content: FileContent, options: { milliseconds: number }): Promise<Verdict>

  /**
   * Makes a variant of a picture. Only for the task `render`.
   *
   * @throws {DecoderTimeout} the process was ended
   * @throws {Error} the process ended, could not read the file, or took too much memory
   */
  render(
    format: Format,
    content: FileContent,
    options: { milliseconds: number; request: RenderRequest },
  ): Promise<Rendered | Unrendered>

  /** Ends the process after the file that it reads. Resolves when it has ended. */
  close(): Promise<void>
}

/** Why there is no variant. */
export type Unrendered = NonNullable<Answer['unrendered']>

interface JobOptions<Result> {
  milliseconds: number
  /** The result in an answer; undefined if there is none. It may throw. */
  pick(answer: Answer & { content?: Buffer }): Result | undefined
  onHeader?(metadata: Metadata): void
}

/** A running sandboxed process. */
interface Running {
  child: ChildProcessByStdio<Writable, Readable, Readable>
  answers: Answers
  /** Resolves when the process has loaded its program. */
  ready: Promise<void>
  /** Resolves with the reason when the process has ended. */
  ended: Promise<string>
}

/** At the limit of its address space, an allocation fails: V8 and C++ then abort, GLib traps. */
const OUT_OF_MEMORY_SIGNALS = new Set(['SIGABRT', 'SIGTRAP'])

/** The process cannot be started: a fault of this machine, not of a file. */
export class DecoderUnavailable extends Error {
  override name = 'DecoderUnavailable'
}

export interface DecoderOptions {
  /** How the process is isolated. */
  sandbox: Promise<Sandbox>
  /** Bytes that the process may use. */
  memory: number
}

/** @param task the task of the process for each file */
export function createDecoder(task: Task, { sandbox, memory }: DecoderOptions): Decoder {
  let running: Promise<Running> | undefined
  const send = createSender()
  const haveRead = new WeakSet<Promise<Running>>()
  const tooMuchMemory = `the image takes more than ${memory / 2 ** 20} MiB to decode`

  async function startProcess(descriptor?: number) {
    const started = spawnProcess(await sandbox, task, memory, descriptor)
    await started.ready.finally(() => setBusy(started, false))
    return started
  }

  /** Starts the process that is used again and again. */
  function start() {
    const starting = startProcess()
    const forget = () => {
      if (running === starting) running = undefined
    }
    starting.then(({ ended }) => ended.then(forget), forget)
    return starting
  }

  /**
   * Runs a job, and picks the result from its answer. If a process that has read other files lacks memory, they may have
   * left too little: a new process does the job again.
   */
  async function runJobWithMemory<Result>(
    job: Omit<Job, 'task' | 'size'>,
    content: FileContent,
    { milliseconds, ...options }: JobOptions<Result>,
  ): Promise<Result> {
    const deadline = performance.now() + milliseconds
    const result = await runJobOnce(job, content, { milliseconds, ...options })
    if (result !== 'again') return result
    const left = deadline - performance.now()
    return (await runJobOnce(job, content, { milliseconds: left, ...options })) as Result
  }

  /**
   * Runs a job, and picks the result from its answer. A process that has no result is not used any more.
   *
   * @returns `again` if the process lacks memory and has read other files
   */
  async function runJobOnce<Result>(
    given: Omit<Job, 'task' | 'size'>,
    content: FileContent,
    { milliseconds, pick, onHeader = () => {} }: JobOptions<Result>,
  ): Promise<Result | 'again'> {
    const isSent = !('descriptor' in content)
    if (isSent) running ??= start()
    const used = isSent ? running! : startProcess(content.descriptor)
    const isNew = !haveRead.has(used)
    haveRead.add(used)
    const job: Job = { ...given, task, ...(isSent && { size: sizeOf(content) }) }
    try {
      const working = used.then((process) =>
        runJob(
          process,
          job,
          (message) => send(process.child.stdin, message, isSent ? content : []),
          onHeader,
        ),
      )
      const answer = await withTimeout(working, milliseconds)
      if (answer.last && running === used) running = undefined
      if (answer.outOfMemory) decoderEnds.publish('memory')
      if (answer.outOfMemory && !isNew) {
        if (running === used) running = undefined
        used.then(({ child }) => child.kill('SIGKILL'))
        return 'again'
      }
      const result = pick(answer)
      if (result === undefined) throw new Error(answer.fault ?? 'the decoder process gave no result')
      return result
    } catch (error) {
      if (!(error instanceof DecoderUnavailable || error instanceof OutOfMemory))
        decoderEnds.publish(error instanceof DecoderTimeout ? 'timeout' : 'crash')
      // The process is not used any more, also after a fault that it has reported.
      used.then(
        ({ child }) => child.kill('SIGKILL'),
        () => {},
      )
      if (running === used) running = undefined
      throw error
    } finally {
      if (!isSent) used.then(end).catch(() => {})
    }
  }

  return {
    async start() {
      running ??= start()
      await running
    },

    async run(format, content, { milliseconds }) {
      let header: { metadata?: Metadata } = {}
      const toVerdict = ({ verdict, outOfMemory }: Answer): Verdict | undefined =>
        outOfMemory ? { status: 'failed', failure: tooMuchMemory, ...header } : verdict
      const onHeader = (metadata: Metadata) => {
        header = { metadata }
      }
      try {
        return await runJobWithMemory(format, content, { milliseconds, onHeader, pick: toVerdict })
      } catch (error) {
        if (error instanceof DecoderTimeout) Object.assign(error, header)
        throw error
      }
    },

    render: (format, content, { milliseconds, request }) =>
      runJobWithMemory({ ...format, render: request }, content, {
        milliseconds,
        pick({ rendered, unrendered, content, outOfMemory }) {
          if (outOfMemory) throw new OutOfMemory(tooMuchMemory)
          if (rendered && content) return { bytes: content, width: rendered.width, height: rendered.height }
          return unrendered
        },
      }),

    async close() {
      await running?.then(end).catch(() => {})
    },
  }
}

/** Sends a job to a process. Resolves with its answer. @throws {Error} the process ended, or sent an invalid answer */
async function runJob(
  running: Running,
  job: Job,
  send: (message: Buffer) => Promise<void>,
  onHeader: (metadata: Metadata) => void,
): Promise<Answer & { content?: Buffer }> {
  const { child, answers, ended } = running
  setBusy(running, true)
  try {
    await send(encodeMessage(job))
    let answered = await answers.next()
    if (answered?.header) {
      onHeader(answered.header)
      answered = await answers.next()
    }
    const { rendered } = answered ?? {}
    const content = rendered && (await answers.bytes(rendered.size))
    if (answered && (!rendered || content)) return { ...answered, ...(content && { content }) }
    const reason = await ended
    if (OUT_OF_MEMORY_SIGNALS.has(reason)) return { outOfMemory: true, last: true }
    throw new Error(`the decoder process ended (${reason})`)
  } catch (error) {
    // After an invalid answer the process is not trusted any more.
    if (error instanceof InvalidAnswer) child.kill('SIGKILL')
    throw error
  } finally {
    setBusy(running, false)
  }
}

async function withTimeout<T>(work: Promise<T>, milliseconds: number): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(
    () => reject(new DecoderTimeout(`the image takes more than ${milliseconds / 1000} s to decode`)),
    milliseconds,
  )
  work.catch(() => {})
  return Promise.race([work, promise]).finally(() => clearTimeout(timer))
}

function spawnProcess(sandbox: Sandbox, task: Task, memory: number, descriptor?: number): Running {
  const [file, args] = sandbox.command(CHILD, [task, String(memory)], { memory })
  const options: SpawnOptionsWithStdioTuple<'pipe', 'pipe', 'pipe'> = {
    env: searchPath(),
    cwd: '/',
    stdio: ['pipe', 'pipe', 'pipe', ...(descriptor === undefined ? [] : [descriptor])] as [
      'pipe',
      'pipe',
      'pipe',
    ],
    // A terminal sends its signals to the whole group. Images in progress must be finished.
    detached: true,
  }
  const child = spawn(file, args, options)
  let stderr = ''
  child.stderr.on('data', (data) => {
    stderr = (stderr + data).slice(-MAX_STDERR_BYTES)
  })
  child.stdin.on('error', () => {})
  const ended = untilEnded(child)
  const answers = readAnswers(child.stdout)
  const ready = answers.next().then(async (first) => {
    if (!first?.ready)
      throw new DecoderUnavailable(`a decoder process cannot be started (${await ended}) ${stderr}`)
  })
  ready.catch(() => {})
  return { child, answers, ready, ended }
}

/** Resolves with the signal or the exit code of a process. A launcher adds 128 to a signal's number (as a shell does). */
async function untilEnded(child: ChildProcess): Promise<string> {
  const [code, signal] = await Promise.race([once(child, 'exit'), once(child, 'error')]).catch((error) => [
    (error as Error).message,
  ])
  const number = typeof code === 'number' && code > 128 ? code - 128 : undefined
  const name = Object.entries(constants.signals).find(([, value]) => value === number)?.[0]
  return signal ?? name ?? String(code)
}

/** Only a process with a job keeps this one from ending. */
function setBusy({ child }: Running, isBusy: boolean) {
  for (const handle of [child, child.stdin, child.stdout, child.stderr] as unknown as NodeJS.RefCounted[]) {
    if (isBusy) handle.ref()
    else handle.unref()
  }
}

async function end(running: Running) {
  setBusy(running, true)
  running.child.stdin.end()
  await running.ended
}
