import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { build, TOKEN } from '../helpers/app.ts'
import { makeImage } from '../helpers/images.ts'
import { sha256 } from '../helpers/lifecycle.ts'
import { freePort } from '../helpers/ports.ts'

// Linters and generators are a project of their own, whose packages are installed for this test alone: they are many.
const SOURCES = fileURLToPath(new URL('.', import.meta.url))
const CACHE = fileURLToPath(new URL('../../node_modules/.cache/test-clients/', import.meta.url))

/** How each client is generated from openapi.json. Each has a program of the same name. */
const GENERATORS = {
  'openapi-fetch': ['openapi-typescript', 'openapi.json', '-o', 'generated/openapi-fetch.d.ts'],
  'hey-api': ['openapi-ts', '-i', 'openapi.json', '-o', 'generated/hey-api', '-c', '@hey-api/client-fetch'],
  orval: ['orval', '--config', 'orval.config.mjs'],
  'swagger-typescript-api': [
    ...['swagger-typescript-api', 'generate', '-p', 'openapi.json'],
    ...['-o', 'generated', '-n', 'swagger-typescript-api.ts'],
  ],
  kubb: ['kubb', 'generate', '--config', 'kubb.config.mjs'],
}

/** Runs a program, and gives its output also if it fails. */
async function run(folder: string, command: string, ...args: string[]) {
  // tap puts itself into each Node that a test starts, by NODE_OPTIONS.
  const env = {
    ...process.env,
    NODE_OPTIONS: '',
    REDOCLY_TELEMETRY: 'off',
    REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true',
  }
  try {
    const { stdout, stderr } = await promisify(execFile)(command, args, { cwd: folder, env, maxBuffer: 1e8 })
    return { ok: true, stdout, output: stdout + stderr }
  } catch (error) {
    const { stdout, stderr, message } = error as { stdout?: string; stderr?: string; message: string }
    return { ok: false, stdout: stdout ?? '', output: `${message}\n${stdout}${stderr}` }
  }
}

/** Installs the packages once for each lock file, and returns their folder, or why there is none. */
async function install() {
  const lock = readFileSync(join(SOURCES, 'package-lock.json'))
  const folder = join(CACHE, createHash('sha256').update(lock).digest('hex').slice(0, 16))
  if (existsSync(folder)) return { folder }
  const draft = `${folder}.new`
  rmSync(CACHE, { recursive: true, force: true })
  mkdirSync(draft, { recursive: true })
  for (const name of ['package.json', 'package-lock.json']) cpSync(join(SOURCES, name), join(draft, name))
  const { ok, output } = await run(draft, 'npm', 'ci', '--ignore-scripts', '--no-audit', '--no-fund')
  if (!ok) return { missing: `the generators can't be installed: ${output.trim().split('\n').at(-1)}` }
  renameSync(draft, folder)
  return { folder }
}

const { folder, missing = false } = await install()

t.test('the contract and generated clients', { skip: missing, timeout: 300_000 }, async (t) => {
  const PORT = await freePort()
  const url = `http://127.0.0.1:${PORT}`
  const app = await build(t, { PUBLIC_URL: url })
  await app.listen({ port: PORT, host: '127.0.0.1' })

  rmSync(join(folder!, 'generated'), { recursive: true, force: true })
  for (const path of globSync('*.{ts,mjs,json,yaml}', { cwd: SOURCES }))
    if (!path.includes('test') && !path.startsWith('package'))
      cpSync(join(SOURCES, path), join(folder!, path))
  writeFileSync(join(folder!, 'openapi.json'), JSON.stringify((await app.inject('/openapi.json')).json()))
  const images = [await makeImage('png'), await makeImage('jpeg')]
  const paths = images.map((bytes, n) => {
    const path = join(folder!, `image-${n}`)
    writeFileSync(path, bytes)
    return path
  })
  const tool = (...args: string[]) => run(folder!, 'npx', '--no-install', ...args)

  await t.test('Redocly has no warning', async (t) => {
    const { ok, output } = await tool('redocly', 'lint', 'openapi.json', '--config', 'redocly.yaml')
    t.ok(ok, ok ? 'it succeeds' : output)
    t.notMatch(output, /Warning was generated|Error was generated/, 'without a warning')
  })

  await t.test('Spectral has no warning', async (t) => {
    const flags = ['--ruleset', 'spectral.yaml', '--fail-severity', 'hint']
    const { ok, output } = await tool('spectral', 'lint', 'openapi.json', ...flags)
    t.ok(ok, ok ? 'it succeeds' : output)
  })

  for (const [name, command] of Object.entries(GENERATORS))
    await t.test(`${name} generates a client`, async (t) => {
      const { ok, output } = await tool(...command)
      t.ok(ok, ok ? 'it succeeds' : output)
    })

  await t.test('the programs have no error of types', async (t) => {
    const { ok, output } = await tool('tsc', '--project', 'tsconfig.json')
    t.ok(ok, ok ? 'it succeeds' : output)
  })

  for (const name of Object.keys(GENERATORS))
    await t.test(`${name} creates a link, uploads two files, and reads bytes and an error`, async (t) => {
      const bundled = `generated/${name}.program.mjs`
      const flags = ['--bundle', '--format=esm', '--platform=node', `--outfile=${bundled}`]
      const bundling = await tool('esbuild', `${name}.ts`, ...flags)
      t.ok(bundling.ok, bundling.ok ? 'it is bundled' : bundling.output)
      const { ok, stdout, output } = await run(folder!, process.execPath, bundled, url, TOKEN, ...paths)
      t.ok(ok, ok ? 'it succeeds' : output)
      t.strictSame(JSON.parse(stdout), {
        hashes: images.map(sha256),
        bytes: sha256(images[0]!),
        error: 'urn:hasty:problem:image-not-found',
      })
    })
})
