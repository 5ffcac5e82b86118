import { PassThrough } from 'node:stream'
import pretty from 'pino-pretty'
import t from 'tap'
import { describeSettings } from '../../config.ts'
import { createLog } from '../../process/log.ts'

const hostile = [
  'x\n[12:00:00] FATAL: forged',
  'x\r[12:00:00] FATAL: forged',
  '\u001b[31mred',
  '\u009b31mred',
  '\b\b\b\f',
  '\u2028{"level":60,"msg":"forged"}',
  '\u202egnp.exe',
  '\\u001b[31m is only text',
]

t.test('no text can forge a line or colour a terminal', async (t) => {
  for (const text of hostile) {
    const lines: string[] = []
    const log = createLog({ logLevel: 'info' }, 'test', { write: (line) => void lines.push(line) })
    log.info({ name: text, err: new Error(text, { cause: new Error(text) }) }, 'a message')
    t.equal(lines.length, 1)
    t.equal(lines[0]!.trimEnd().split(/[\n\r\u2028\u2029]/).length, 1, 'one line')
    JSON.parse(lines[0]!)
    t.notMatch(lines[0], /(?<!\\)\\u001b|[\u007f-\u009f\u202a-\u202e]/)

    const shown: string[] = []
    const out = new PassThrough().on('data', (data) => shown.push(String(data)))
    const stream = pretty({ colorize: false, destination: out, singleLine: true, sync: true })
    createLog({ logLevel: 'info' }, 'test', stream).error(
      { err: new Error(text, { cause: new Error(text) }) },
      'a message',
    )
    await new Promise(setImmediate)
    const all = shown.join('')
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must be absent
    t.notMatch(all, /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028-\u202e]/, `text ${hostile.indexOf(text)}`)
    t.equal(all.match(/^\[/gm)?.length, 1, 'one line begins like a line of the log')
  }
  t.match(JSON.stringify(hostile.at(-1)), /u001b/)
})

t.test('the settings in the log have no secret', async (t) => {
  const settings = describeSettings({
    ACCESS_TOKEN: 'secret-1',
    DATABASE_URL: 'postgres://hasty:secret-2@db/hasty',
    QUEUE_URL: 'nats://hasty:secret-3@nats',
    SIGNING_KEY: 'secret-4'.repeat(8),
    PUBLIC_URL: 'https://user:secret-5@images.example/',
    PORT: '3000',
    SECRET_OF_ANOTHER_PROGRAM: 'secret-6',
    LOG_LEVEL: '',
  })
  t.notMatch(JSON.stringify(settings), /secret-/)
  t.strictSame(settings, {
    PORT: '3000',
    ACCESS_TOKEN: '(not shown)',
    DATABASE_URL: '(not shown)',
    QUEUE_URL: '(not shown)',
    SIGNING_KEY: '(not shown)',
    PUBLIC_URL: 'https://images.example/',
  })
})
