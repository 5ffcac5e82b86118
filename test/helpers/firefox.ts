import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { newFolder } from './folder.ts'

const executable = ['/usr/bin/firefox-esr', '/usr/bin/firefox'].find(existsSync)

/** Why tests with Firefox are skipped; false where there is one. */
export const noFirefox = executable ? false : 'no Firefox'

interface Reply {
  id?: number
  method?: string
  params?: { level?: string; text?: string }
  result?: unknown
  message?: string
}

/**
 * Starts Firefox and opens a page in it by WebDriver BiDi (https://www.w3.org/TR/webdriver-bidi/), which Firefox has itself.
 * `faults` gets each error of its console and of its scripts.
 */
export async function openInFirefox(t: Test, url: string) {
  const browser = await startFirefox(t)
  const faults: string[] = []
  browser.onEvent(({ method, params }) => {
    if (method === 'log.entryAdded' && params?.level === 'error') faults.push(String(params.text))
  })
  await browser.command('session.new', { capabilities: {} })
  await browser.command('session.subscribe', { events: ['log.entryAdded'] })
  const { contexts } = await browser.command<{ contexts: { context: string }[] }>(
    'browsingContext.getTree',
    {},
  )
  const { context } = contexts[0]!
  const open = (url: string) =>
    browser.command('browsingContext.navigate', { context, url, wait: 'complete' })
  await open(url)

  const evaluate = async (expression: string) => {
    const { result } = await browser.command<{ result: { value?: unknown } }>('script.evaluate', {
      expression,
      target: { context },
      awaitPromise: true,
    })
    return result.value
  }
  return {
    faults,
    open,
    /** Resolves with the value of an expression: a string, a number or a boolean. */
    evaluate,
    /** Waits for an element. */
    async waitFor(selector: string) {
      while (!(await evaluate(`Boolean(document.querySelector(${JSON.stringify(selector)}))`)))
        await sleep(50)
    },
    /** Types a text into the field that has the focus. */
    type: (text: string) =>
      browser.command('input.performActions', {
        context,
        actions: [
          {
            type: 'key',
            id: 'keyboard',
            actions: [...text].flatMap((value) => [
              { type: 'keyDown', value },
              { type: 'keyUp', value },
            ]),
          },
        ],
      }),
    /** Chooses files on this machine in a field for files. */
    async chooseFiles(selector: string, files: string[]) {
      const { nodes } = await browser.command<{ nodes: { sharedId: string }[] }>(
        'browsingContext.locateNodes',
        {
          context,
          locator: { type: 'css', value: selector },
        },
      )
      await browser.command('input.setFiles', { context, element: { sharedId: nodes[0]!.sharedId }, files })
    },
  }
}

async function startFirefox(t: Test) {
  const folder = newFolder(t)
  const args = [
    '--headless',
    '--no-remote',
    '--profile',
    folder,
    '--remote-debugging-port',
    '0',
    'about:blank',
  ]
  const browser = spawn(executable!, args, {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, HOME: folder, MOZ_DISABLE_CONTENT_SANDBOX: '1' },
  })
  const ended = new Promise((resolve) => browser.once('exit', resolve))
  t.teardown(async () => {
    browser.kill('SIGKILL')
    await ended
  })
  const address = await new Promise<string>((resolve, reject) => {
    createInterface(browser.stderr).on('line', (line) => {
      const [, found] = /WebDriver BiDi listening on (ws:\S+)/.exec(line) ?? []
      if (found) resolve(found)
    })
    ended.then(() => reject(new Error('Firefox has ended')))
  })
  const socket = new WebSocket(`${address}/session`)
  await new Promise((resolve, reject) => {
    socket.addEventListener('open', resolve)
    socket.addEventListener('error', () => reject(new Error(`no connection to ${address}`)))
  })
  t.teardown(() => socket.close())

  const waiting = new Map<number, PromiseWithResolvers<unknown>>()
  const listeners: ((event: Reply) => void)[] = []
  socket.addEventListener('message', ({ data }) => {
    const reply = JSON.parse(String(data)) as Reply
    if (reply.id === undefined) for (const listener of listeners) listener(reply)
    else if (reply.message === undefined) waiting.get(reply.id)?.resolve(reply.result)
    else waiting.get(reply.id)?.reject(new Error(reply.message))
  })
  let last = 0
  return {
    onEvent: (listener: (event: Reply) => void) => void listeners.push(listener),
    command<Result>(method: string, params: object) {
      const id = ++last
      const answer = Promise.withResolvers<unknown>()
      waiting.set(id, answer)
      socket.send(JSON.stringify({ id, method, params }))
      return answer.promise as Promise<Result>
    },
  }
}
