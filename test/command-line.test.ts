import { execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { paths } from '../bin/api.ts'
import type { Command } from '../bin/command.ts'
import { targetUrl } from '../bin/commands/backup.ts'
import { bars, bytes, clean, table } from '../bin/output.ts'
import { COMMANDS, runCommand } from '../bin/run-command.ts'
import { type App, admin, build, makeLink, TOKEN } from './helpers/app.ts'
import { dataDirWithLentDatabase } from './helpers/embedded.ts'
import { newFolder } from './helpers/folder.ts'
import { createCommand, HASTY, hastyEnv, runHasty } from './helpers/hasty.ts'
import { renderHelp } from './helpers/help-page.ts'
import { makeImage } from './helpers/images.ts'

/** Control characters other than line ends, and marks that change the direction of a text. */
const CONTROL = /[^\P{Cc}\n]|[\u2028\u2029\u202a-\u202e\u2066-\u2069]/u

async function serve(app: App) {
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as { port: number }
  return `http://127.0.0.1:${port}`
}

t.test('the commands use the public API: each operation is in the contract', async (t) => {
  const app = await build(t)
  const contract = app.swagger().paths as Record<string, Record<string, { operationId: string }>>
  for (const [name, [method, path]] of Object.entries(paths))
    t.equal(contract[path]?.[method.toLowerCase()]?.operationId, name, `${method} ${path}`)
})

t.test('an admin works with a service on another machine, by its URL and a token', async (t) => {
  const app = await build(t, { ACCEPT: 'image/jpeg,image/png' })
  const url = await serve(app)
  const HOME = newFolder(t)
  const hasty = createCommand({ HASTY_URL: url, HASTY_TOKEN: TOKEN, HOME })
  const json = async (...args: string[]) => JSON.parse((await hasty(...args)).out)

  const link = await json('link', 'create', '--in', 'PT1H', '--max', '20', '--label', 'Wedding')
  t.match(link, { url: `${url}/uploads/${link.id}`, expiresOn: String })
  const folder = join(newFolder(t), 'pictures')
  mkdirSync(join(folder, 'more'), { recursive: true })
  const picture = await makeImage()
  const names = ['a.png', 'more/b [1].png', '写真.png']
  for (const [n, name] of names.entries())
    writeFileSync(join(folder, name), Buffer.concat([picture, Buffer.from([n])]))
  t.match(await hasty('upload', folder, '--to', link.url), { code: 0 })
  writeFileSync(join(folder, 'notes.txt'), 'no image')
  const again = await hasty('upload', folder, '--to', link.url)
  t.equal(again.code, 5, 'some files were rejected')
  t.match(
    JSON.parse(again.out)
      .map(({ outcome }: { outcome: string }) => outcome)
      .sort(),
    ['rejected', 'sent before', 'sent before', 'sent before'],
    'it continues: nothing is sent twice',
  )
  t.equal(JSON.parse((await hasty('link', 'show', link.url)).out).uploads, 3)

  const to = join(newFolder(t), 'saved')
  t.match(await hasty('download', link.id, '--to', to), { code: 0 })
  const saved = readdirSync(to).filter((name) => !name.startsWith('.'))
  t.same(saved.sort(), ['a.png', 'b [1].png', '写真.png'].sort(), 'with the names of the sender')
  const digest = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex')
  t.equal(digest(join(to, 'a.png')), digest(join(folder, 'a.png')))
  writeFileSync(join(to, 'a.png'), 'damaged')
  t.match(
    (await json('download', link.id, '--to', to)).map(({ outcome }: { outcome: string }) => outcome).sort(),
    ['downloaded', 'there already', 'there already'],
    'a damaged file is downloaded again',
  )
  t.equal(digest(join(to, 'a.png')), digest(join(folder, 'a.png')))

  const images = await json('images', 'list', '--link', link.url)
  t.equal(images.length, 3)
  t.match(await json('images', 'show', images[0].id), { id: images[0].id, hash: images[0].hash })
  t.match(await hasty('images', 'remove', '--link', link.id), { code: 2, err: /--yes/ })
  t.match(await json('images', 'remove', '--link', link.id, '--yes'), { removed: 3 })
  t.match(await json('stats'), {
    uploadFrequency30Days: [{ uploads: 3 }],
    storage: { links: [{ label: 'Wedding' }] },
  })
  t.match(await hasty('link', 'revoke', link.id), { code: 0 })
  t.match(await hasty('upload', join(folder, 'notes.txt'), '--to', link.url), { code: 1, err: /revoked/ })

  const token = await json('token', 'create', 'front desk', '--scope', 'stats:read')
  const clerk = createCommand({ HASTY_URL: url, HASTY_TOKEN: token.token, HOME })
  t.match(await clerk('stats'), { code: 0 })
  t.match(await clerk('link', 'list'), { code: 4, err: /links:write/ })
  const next = await json('token', 'rotate', 'front desk')
  t.match(await clerk('stats'), { code: 4, err: /access token/ })
  t.match(await hasty('token', 'revoke', next.id), { code: 0 })
  t.match(await hasty('token', 'rotate'), { code: 2, err: /ACCESS_TOKEN/ })
  const audit = await json('audit', '--action', 'removeImages')
  t.match(audit, [{ actor: 'root', detail: new RegExp(link.id), status: 200 }])
  const exported = await runHasty({ HASTY_URL: url, HASTY_TOKEN: TOKEN, HOME }, 'audit', '--export', 'csv')
  t.match(exported, { code: 0, out: /^at,actor,/ })
})

t.test(
  'a file that cannot be read does not keep the other files of its folder from being sent',
  async (t) => {
    const app = await build(t)
    const url = await serve(app)
    const hasty = createCommand({ HASTY_URL: url, HASTY_TOKEN: TOKEN, HOME: newFolder(t) })
    const folder = newFolder(t)
    writeFileSync(join(folder, 'a\nb.png'), await makeImage())
    // Node cannot open this name: it is not UTF-8. Root can open every file, whatever its mode is.
    writeFileSync(Buffer.concat([Buffer.from(`${folder}/`), Buffer.from([0xff, 0x2e, 0x70])]), 'x')
    const sent = await hasty('upload', folder, '--to', url + (await makeLink(app)))
    t.equal(sent.code, 5)
    t.match(JSON.parse(sent.out), [
      { path: join(folder, 'a\nb.png'), outcome: 'accepted' },
      { outcome: 'failed', reason: "it can't be read (ENOENT)" },
    ])
  },
)

t.test('an interrupted upload continues within the file, with what the link asks for', async (t) => {
  const app = await build(t)
  const url = await serve(app)
  const env = { HASTY_URL: url, HASTY_TOKEN: TOKEN, HOME: newFolder(t) }
  const hasty = createCommand(env)
  const path = join(newFolder(t), 'large.png')
  const size = 25 * 2 ** 20
  writeFileSync(path, Buffer.concat([await makeImage(), Buffer.alloc(size)]).subarray(0, size))
  const link = await makeLink(app, { sinceNow: 'PT1H', password: 'a long secret', askSender: 'required' })
  const send = (...args: string[]) => hasty('upload', path, '--to', url + link, ...args)
  t.match(await send(), { code: 2, err: /--password/ })
  t.match(await send('--password', 'wrong'), { code: 2, err: /The password is wrong/ })
  t.match(await send('--password', 'a long secret'), { code: 2, err: /--sender/ })

  const given = ['--password', 'a long secret', '--sender', 'Anna', '--message', 'From the lake']
  const child = execFile(process.execPath, [HASTY, 'upload', path, '--to', url + link, ...given], {
    env: hastyEnv(env),
  })
  const ended = once(child, 'exit')
  const offsets: number[] = []
  app.server.on('request', ({ method, headers }) => {
    if (method !== 'PATCH') return
    offsets.push(Number(headers['upload-offset']))
    if (offsets.length === 2) child.kill('SIGKILL')
  })
  await ended
  t.equal(offsets.length, 2, 'it was ended in the third piece')
  t.match(await send(...given), { code: 0, out: /accepted/ })
  t.ok(offsets[2]! >= offsets[1]!, 'the second run begins where the first one stopped')
  const digest = createHash('sha256').update(readFileSync(path)).digest('hex')
  const { items } = (await app.inject({ url: '/admin/images', headers: admin })).json()
  t.match(items, [{ hash: digest, size }])
  const { received } = (
    await app.inject({ url: link.replace('/uploads', '/admin/ephemeral-links'), headers: admin })
  ).json()
  t.match(received.items, [{ name: 'large.png', sender: 'Anna', message: 'From the lake' }])
})

t.test('an error says what to do, and has its exit code', async (t) => {
  const HOME = newFolder(t)
  const hasty = createCommand({
    HASTY_URL: 'http://127.0.0.1:9',
    HASTY_TOKEN: 'x',
    HOME,
    DATA_DIR: join(HOME, 'none'),
  })
  t.match(await hasty('link', 'list'), { code: 3, err: /127\.0\.0\.1:9 does not answer/ })
  const unreachable = await runHasty({ HASTY_URL: 'http://127.0.0.1:9', HASTY_TOKEN: 'x', HOME }, 'stats')
  t.match(unreachable, { code: 3, out: /^$/, err: /does not answer/ }, 'a process ends with the exit code')
  t.match(await hasty('link', 'lsit'), { code: 2, err: /list/ })
  t.match(await hasty('link', 'show'), { code: 2, err: /hasty --help/ })
  t.match(await hasty('upload', 'none.jpg', '--to', 'x'), { code: 2, err: /--to must be the URL of a link/ })
  t.match(await createCommand({ HASTY_URL: 'http://127.0.0.1:9', HOME })('stats'), {
    code: 2,
    err: /HASTY_TOKEN/,
  })
  t.match(await createCommand({ HASTY_URL: 'nowhere', HOME })('stats'), {
    code: 2,
    err: /HASTY_URL.*example/,
  })
  t.match(await hasty('link', 'create', '--help'), { code: 0, out: /Examples:.*--max 200/s })
  for (const shell of ['bash', 'zsh'])
    t.match(await createCommand({ SHELL: `/bin/${shell}`, HOME })('completion'), {
      code: 0,
      out: shell === 'bash' ? /complete -o .*hasty/ : /#compdef hasty/,
    })
  t.match((await hasty('--get-yargs-completions', 'hasty', 'link', 'r')).out, /revoke/)
  t.match(await hasty('doctor'), { code: 1, out: /has no database yet/ })
})

t.test('text from senders cannot control the terminal, and tables fit into it', async (t) => {
  t.equal(clean('a\x1b[31mred\x1b]0;title\x07\n\u202egnp.exe'), 'ared··gnp.exe')
  const app = await build(t)
  const hasty = createCommand({ HASTY_URL: await serve(app), HASTY_TOKEN: TOKEN, HOME: newFolder(t) })
  const label = 'red\x9b31m \u202egnp.exe\u2028<b>'
  const link = await makeLink(app, { sinceNow: 'PT1H', label })
  const payload = await makeImage()
  const query = new URLSearchParams({ name: label, sender: label, message: label })
  t.equal(
    (
      await app.inject({
        method: 'POST',
        url: `${link}?${query}`,
        headers: { 'content-type': 'image/png' },
        payload,
      })
    ).statusCode,
    200,
  )
  for (const command of [
    ['link', 'list'],
    ['images', 'list'],
  ]) {
    const { out } = await hasty(...command)
    t.notMatch(out, CONTROL, command.join(' '))
    t.match(JSON.stringify(JSON.parse(out)), command[0] === 'link' ? label : /PNG/)
  }
  t.notMatch((await hasty('token', 'revoke', 'x\x9b2J\x1b]0;title\x07')).err, CONTROL)
  const long = table(['NAME', 'ID'], [['写真'.repeat(60), 'x'.repeat(48)]], ['ID', 'NAME'])
  t.ok(long.split('\n').every((line) => [...line].length <= 100))
  t.match(long, /…/)
  t.match(
    bars([
      ['a', 0],
      ['b', 1],
      ['c', 1000],
    ]),
    /a +0 +\n?.*b +1 +.*█/s,
  )
  t.strictSame([0, 1023, 1024, 1.5 * 2 ** 30].map(bytes), ['0 B', '1023 B', '1.0 KiB', '1.5 GiB'])
})

t.test('the audit log has the commands that change something on the machine', async (t) => {
  const DATA_DIR = await dataDirWithLentDatabase(t)
  const app = await build(t, { DATA_DIR })
  const url = await serve(app)
  const local = createCommand({ DATA_DIR, HOME: newFolder(t), ACCESS_TOKEN: TOKEN })
  t.match(await local('sweep', '--dry-run'), { code: 0 })
  t.match(await local('sweep'), { code: 0 })
  t.match(await local('verify'), { code: 0 })
  t.match(await local('backup', '--to', newFolder(t)), { code: 0 })
  const hasty = createCommand({ HASTY_URL: url, HASTY_TOKEN: TOKEN, HOME: newFolder(t) })
  const entries = JSON.parse((await hasty('audit')).out)
  t.match(entries, [
    { action: 'backup', actor: /^local:/, status: 200 },
    { action: 'verify' },
    { action: 'sweep', detail: /"force":false/ },
  ])
  t.equal(entries.length, 3, 'a dry run changes nothing')
})

t.test('a command keeps its exit code if its output is not read to its end', async (t) => {
  const DATA_DIR = newFolder(t)
  const run = async (args: string[], env: Record<string, string>, { readsErrors = true } = {}) => {
    const child = spawn(process.execPath, [HASTY, ...args], {
      env: hastyEnv({ DATA_DIR, HOME: DATA_DIR, ...env }),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    child.stdout.destroy()
    if (!readsErrors) child.stderr.destroy()
    const err = readsErrors ? text(child.stderr) : ''
    const [code] = await once(child, 'exit')
    return { code, err: await err }
  }
  const app = await build(t)
  const service = { HASTY_URL: await serve(app), HASTY_TOKEN: TOKEN }
  const [exported, failed, wrong] = await Promise.all([
    run(['audit', '--export', 'csv'], service),
    run(['doctor'], { OBJECT_STORE_URL: 'ftp://x' }),
    run(['lst'], {}, { readsErrors: false }),
  ])
  t.match(exported, { code: 0, err: /^$/ }, 'an output that is written in pieces')
  t.match(failed, { code: 1, err: /^$/ }, 'a command that has failed')
  t.match(wrong, { code: 2 }, 'a command whose errors nobody reads')

  const stats = COMMANDS.find((each) => 'command' in each && each.command === 'stats') as Command
  const broken = Object.assign(new Error('write EPIPE'), { code: 'EPIPE' })
  t.intercept(stats, 'run', { value: () => Promise.reject(broken) })
  const errors = t.capture(process.stderr, 'write', () => true)
  t.equal(await runCommand(['stats']), 1, 'a connection that breaks is no output that nobody reads')
  t.match(errors()[0]?.args[0], /EPIPE/)
})

t.test('a backup goes to a folder or a bucket, and a wrong URL is an error', async (t) => {
  const good: [string, RegExp][] = [
    ['/mnt/backup/hasty', /^file:\/\/\/mnt\/backup\/hasty$/],
    ['backup 1%', /^file:\/\/\/.*\/backup%201%25$/],
    ['./s3:backup', /^file:\/\/\/.*\/s3:backup$/],
    ['2026-11-28T10:00', /^file:\/\/\/.*\/2026-11-28T10:00$/],
    ['file:///mnt/backup', /^file:\/\/\/mnt\/backup$/],
    ['s3://backups', /^s3:\/\/backups$/],
    ['s3://backups/hasty?region=eu-central-1', /^s3:\/\/backups\/hasty\?region=eu-central-1$/],
  ]
  for (const [given, url] of good) t.match(targetUrl(given).href, url, given)
  const hasty = createCommand({ DATA_DIR: join(newFolder(t), 'none'), HOME: newFolder(t) })
  const bad: [string, RegExp][] = [
    ['', /neither a folder nor the URL of a bucket.*s3:\/\/backups/],
    ['s3://', /neither/],
    ['s3:///prefix', /neither/],
    ['s3://?region=eu', /neither/],
    ['s3:backups', /neither/],
    ['S3://backups', /neither/],
    ['s3://[', /neither/],
    ['gs://backups', /neither/],
    ['https://backups.example', /neither/],
    ['file:backup', /neither/],
    ['file://host/backup', /neither/],
    ['s3://key:secret@backups', /contains credentials/],
    ['s3://backups?regoin=eu', /unknown parameter "regoin".*region/],
    ['s3://backups?region=', /no value for region/],
    ['s3://backups?endpoint=minio:9000', /not an http or https URL/],
    ['s3://backups?forcePathStyle=yes', /neither true nor false/],
    ['s3://backups/%zz?region=eu', /hexadecimal/],
  ]
  for (const [given, err] of bad) {
    const result = await hasty('backup', '--to', given)
    t.match(result, { code: 2, err, out: /^$/ }, given || 'empty')
    t.notMatch(result.err, /secret|\n {4}at /, 'no secret and no stack')
  }
  t.match(await hasty('restore', '--from', 'gs://backups'), { code: 2, err: /neither/ })
})

t.test('the documents have the help of each command', async (t) => {
  const page = (name: string) => readFileSync(new URL(`../docs/${name}`, import.meta.url), 'utf8')
  t.equal(
    page('commands.md'),
    await renderHelp(),
    'run: node test/helpers/help-page.ts > docs/commands.md, and look at the difference',
  )
  const hasty = createCommand({ HOME: newFolder(t) })
  const documented = [...page('command-line.md').matchAll(/```\n\$ npx hasty (.*--help)\n([\s\S]*?)```/g)]
  t.ok(documented.length >= 1)
  for (const [, args = '', output] of documented)
    t.equal(
      output,
      (await hasty(...args.split(' '))).out,
      `run npx hasty ${args} without a terminal, and replace the output in docs/command-line.md`,
    )
})
