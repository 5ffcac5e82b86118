import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'

// The program of escape.test.ts: code that took control of a decoder.

const { object, tokenFile, socket, port, written, parent } = JSON.parse(process.argv[2]!)

async function outcome(attempt: () => unknown) {
  try {
    await attempt()
    return 'succeeded'
  } catch (error) {
    return (error as { code?: string }).code ?? String(error).slice(0, 100)
  }
}

const connected = (target: string | { host: string; port: number }) =>
  new Promise<void>((resolve, reject) => {
    const connection = connect(target as never, () => {
      connection.destroy()
      resolve()
    }).on('error', reject)
  })

function checkEnvironment() {
  if (process.env.ACCESS_TOKEN === undefined) throw new Error('not set')
}

const javascript = {
  environment: await outcome(checkEnvironment),
  'token file': await outcome(() => readFileSync(tokenFile)),
  'another object': await outcome(() => readFileSync(object)),
  database: await outcome(() => connected(socket)),
  network: await outcome(() => connected({ host: '127.0.0.1', port })),
  writing: await outcome(() => writeFileSync(written, 'x')),
  program: await outcome(() => execFileSync('/bin/true')),
  parent: await outcome(() => readFileSync(`/proc/${parent}/environ`)),
}

/**
 * The actions that native code can take. libvips opens a path without Node: an image in a file that is not one fails in another way
 * than a file that is not there.
 */
const { default: sharp } = await import('sharp')
const opened = (path: string) => async () => {
  const { message } = await sharp(path)
    .metadata()
    .then(() => ({ message: 'an image' }))
    .catch((error: Error) => error)
  if (/missing|No such file|unable to open|Permission/i.test(message)) throw new Error(message)
}

const native = {
  'token file': await outcome(opened(tokenFile)),
  'another object': await outcome(opened(object)),
  parent: await outcome(opened(`/proc/${parent}/environ`)),
  database: await outcome(opened(socket)),
  network: await outcome(() => connected({ host: '127.0.0.1', port })),
}

process.stdout.write(JSON.stringify({ javascript, native }))

// The last attempt, because the kernel may end the process for it (RLIMIT_FSIZE).
const red = sharp({ create: { width: 1, height: 1, channels: 3, background: 'red' } })
await red
  .png()
  .toFile(written)
  .catch(() => {})
