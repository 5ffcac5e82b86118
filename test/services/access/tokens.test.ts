import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { json } from 'node:stream/consumers'
import t from 'tap'
import { createTokenCheck, isStrongToken, openAccessTokens } from '../../../services/access/tokens.ts'
import { newFolder } from '../../helpers/folder.ts'

const module_ = new URL('../../../services/access/tokens.ts', import.meta.url)
const modeOf = (path: string) => statSync(path).mode & 0o777

t.test('a token is created once, in a file that only its owner can read', async (t) => {
  const umask = process.umask(0)
  t.teardown(() => process.umask(umask))
  const dataDir = join(newFolder(t), 'new', 'data')
  const first = await openAccessTokens({ accessTokens: [], dataDir })
  t.match(first.made, /^[0-9A-Za-z]{48}$/)
  t.strictSame(first.tokens, [first.made])
  t.strictSame(await openAccessTokens({ accessTokens: [], dataDir }), { tokens: first.tokens })

  t.strictSame(readdirSync(dataDir), ['access-token'], 'nothing else is left')
  t.equal(modeOf(join(dataDir, 'access-token')), 0o600)
  t.equal(modeOf(dataDir), 0o700)
  const other = await openAccessTokens({ accessTokens: [], dataDir: t.testdir({ other: {} }) })
  t.not(other.made, first.made)
})

t.test('tokens of the configuration are used unchanged, and none is created', async (t) => {
  const dataDir = join(newFolder(t), 'data')
  t.strictSame(await openAccessTokens({ accessTokens: ['one', 'two'], dataDir }), { tokens: ['one', 'two'] })
  t.throws(() => statSync(dataDir), { code: 'ENOENT' })
})

t.test('a token file that an admin wrote is not changed', async (t) => {
  const dataDir = t.testdir({ 'access-token': '  mine \n' })
  t.strictSame(await openAccessTokens({ accessTokens: [], dataDir }), { tokens: ['mine'] })
  t.equal(readFileSync(join(dataDir, 'access-token'), 'utf8'), '  mine \n')
})

t.test('reads the tokens of a file, which is not changed', async (t) => {
  const dataDir = join(newFolder(t), 'data')
  const accessTokenFile = join(t.testdir({ token: ' one,two\n' }), 'token')
  t.strictSame(await openAccessTokens({ accessTokens: [], accessTokenFile, dataDir }), {
    tokens: ['one', 'two'],
  })
  t.throws(() => statSync(dataDir), { code: 'ENOENT' })
})

t.test('refuses a token file that is missing, empty or not ASCII, with an instruction', async (t) => {
  const folder = t.testdir({ empty: ' \n', umlaut: 'tökén', lines: 'one\ntwo' })
  for (const name of ['empty', 'umlaut', 'lines'])
    await t.rejects(
      openAccessTokens({ accessTokens: [], accessTokenFile: join(folder, name), dataDir: folder }),
      {
        message: /ACCESS_TOKEN_FILE is .* openssl rand -hex 24/,
      },
    )
  await t.rejects(
    openAccessTokens({ accessTokens: [], accessTokenFile: join(folder, 'no'), dataDir: folder }),
    {
      message: /can't be read \(ENOENT\)/,
    },
  )
})

t.test('an empty file is refused with an instruction', async (t) => {
  for (const content of ['', '\n', '  \n']) {
    const dataDir = t.testdir({ 'access-token': content })
    await t.rejects(openAccessTokens({ accessTokens: [], dataDir }), {
      message: `${dataDir}/access-token is empty. Delete it, and the next start creates a new access token.`,
    })
    t.strictSame(readdirSync(dataDir), ['access-token'])
  }
})

t.test('a folder that cannot be used is an error', async (t) => {
  const folder = t.testdir({ file: 'no folder' })
  await t.rejects(openAccessTokens({ accessTokens: [], dataDir: join(folder, 'file') }))
  mkdirSync(join(folder, 'data', 'access-token'), { recursive: true })
  await t.rejects(openAccessTokens({ accessTokens: [], dataDir: join(folder, 'data') }), { code: 'EISDIR' })
  t.strictSame(readdirSync(join(folder, 'data')), ['access-token'])
})

t.test('files of a killed start do not prevent the next start', async (t) => {
  const dataDir = newFolder(t)
  for (const name of [`access-token.${process.pid}`, 'access-token.1']) {
    writeFileSync(join(dataDir, name), 'half a tok')
    chmodSync(join(dataDir, name), 0o644)
  }
  const { made } = await openAccessTokens({ accessTokens: [], dataDir })
  t.equal(readFileSync(join(dataDir, 'access-token'), 'utf8'), `${made}\n`)
  t.equal(modeOf(join(dataDir, 'access-token')), 0o600)
})

t.test('concurrent calls create one token', async (t) => {
  const dataDir = newFolder(t)
  const starts = await Promise.all(
    Array.from({ length: 50 }, () => openAccessTokens({ accessTokens: [], dataDir })),
  )
  t.equal(new Set(starts.flatMap(({ tokens }) => tokens)).size, 1)
  t.equal(starts.filter(({ made }) => made).length, 1)
  t.equal(readFileSync(join(dataDir, 'access-token'), 'utf8').trim(), starts[0]!.tokens[0])
  t.strictSame(readdirSync(dataDir), ['access-token'])
})

t.test('processes that start at the same moment agree on one token', async (t) => {
  const dataDir = newFolder(t)
  const script = `
    import { openAccessTokens } from '${module_}'
    const opened = await openAccessTokens({ accessTokens: [], dataDir: ${JSON.stringify(dataDir)} })
    console.log(JSON.stringify(opened))`
  const start = () => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    return json(child.stdout) as ReturnType<typeof openAccessTokens>
  }
  const starts = await Promise.all([start(), start(), start()])
  t.equal(new Set(starts.flatMap(({ tokens }) => tokens)).size, 1)
  t.equal(starts.filter(({ made }) => made).length, 1)
})

t.test('only a complete token is valid', async (t) => {
  const isValid = createTokenCheck(['first-token', 'zweites-“Token”'])
  for (const token of ['first-token', 'zweites-“Token”']) t.equal(isValid(token), true, token)
  for (const token of [
    '',
    'first-toke',
    'first-token ',
    'First-token',
    'first-token,zweites-“Token”',
    'first-tokenfirst-token',
    'first-token\0',
    'x'.repeat(100_000),
  ]) {
    t.equal(isValid(token), false, token.slice(0, 50))
  }
  t.equal(createTokenCheck([])(''), false, 'without tokens none is valid')
})

t.test('a token has 128 bits, or is weak', async (t) => {
  for (let n = 0; n < 100; n++) {
    t.ok(isStrongToken(randomBytes(16).toString('hex')))
    t.ok(isStrongToken(randomBytes(16).toString('base64url')))
  }
  for (const token of [
    '',
    'foobar',
    'kJ8pQ2mX7vB4nR6t',
    'a'.repeat(100),
    'abab'.repeat(20),
    '0123456789abcdef',
  ])
    t.notOk(isStrongToken(token), token)
})
