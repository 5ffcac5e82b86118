import { full } from 'acorn-walk'
import t from 'tap'
import { readSources, type Source } from './helpers/sources.ts'

const sources = readSources(
  '*.ts',
  '{bin,formats,plugins,process,routes,schemas,services,stores,web}/**/*.ts',
)

// The layers, from the highest to the lowest, and what each may import (docs/architecture.md). The key is a folder, or a
// file of the root; `entries` are the other files of the root and those in bin/.
const MAY_IMPORT: Record<string, string[]> = {
  entries: ['app.ts', 'process', 'plugins', 'services', 'stores', 'config.ts', 'schemas'],
  'app.ts': ['plugins', 'routes', 'config.ts'],
  process: ['services', 'stores', 'config.ts', 'schemas', 'package.json'],
  plugins: ['process', 'services', 'stores', 'formats', 'config.ts', 'schemas', 'web', 'package.json'],
  routes: ['services', 'schemas', 'web'],
  services: ['stores', 'formats', 'config.ts', 'schemas'],
  stores: ['config.ts', 'schemas'],
  formats: ['schemas'],
  'config.ts': ['schemas'],
  schemas: [],
  web: ['schemas'],
}

// Packages and modules of Node that a layer must not know.
const HTTP = /^(fastify.*|@fastify\/.*|node:https?|node:http2|undici)$/
const SQL = /^(postgres|postgrator|@electric-sql\/.*)$/
const OTHER_STORES = /^(@aws-sdk\/.*|@nats-io\/.*)$/
const MUST_NOT_KNOW: Record<string, RegExp[]> = {
  routes: [SQL, OTHER_STORES],
  services: [HTTP, SQL, OTHER_STORES],
  stores: [HTTP],
  formats: [HTTP, SQL, OTHER_STORES],
  schemas: [HTTP, SQL, OTHER_STORES],
}

// Programs of their own, which other modules start and do not import.
const isProgram = ({ path }: Source) =>
  layerOf(path) === 'entries' || path === 'web/build.ts' || /(thread|child|creator)\.ts$/.test(path)

function layerOf(path: string) {
  const [first = ''] = path.split('/')
  if (first in MAY_IMPORT) return first
  return first === 'bin' || (!path.includes('/') && path.endsWith('.ts')) ? 'entries' : first
}

const isOwn = (name: string) => sources.some(({ path }) => path === name) || name === 'package.json'

t.test('imports follow the layers', async (t) => {
  t.ok(sources.length > 100, `${sources.length} files`)
  for (const { path, imports } of sources) {
    const layer = layerOf(path)
    const allowed = [layer, ...MAY_IMPORT[layer]!]
    for (const name of imports.filter(isOwn))
      if (!allowed.includes(layerOf(name))) t.fail(`${path} imports ${name}`)
    for (const name of imports)
      if (MUST_NOT_KNOW[layer]?.some((unknown) => unknown.test(name))) t.fail(`${path} imports ${name}`)
  }
})

t.test('no file imports itself through others', async (t) => {
  const imports = new Map(sources.map((source) => [source.path, source.imports.filter(isOwn)]))
  const done = new Set<string>()
  const visit = (path: string, way: string[]) => {
    if (way.includes(path)) t.fail([...way.slice(way.indexOf(path)), path].join(' → '))
    else if (!done.has(path)) {
      for (const next of imports.get(path) ?? []) visit(next, [...way, path])
      done.add(path)
    }
  }
  for (const path of imports.keys()) visit(path, [])
  t.equal(done.size, sources.length + 1, 'with package.json, each file was read')
})

// Each of them takes more than a bounded time for each byte, or is native code (docs/threat-model.md).
const PARSERS = /^(sharp|saxes|file-type|libheif-js|thumbhash|exifreader|formats\/(metadata|decode\/.*)\.ts)$/

t.test('the API process imports no parser of images', async (t) => {
  const imports = new Map(sources.map((source) => [source.path, source.imports]))
  const done = new Set<string>()
  const visit = (path: string, way: string[]) => {
    if (PARSERS.test(path)) t.fail([...way, path].join(' → '))
    if (done.has(path)) return
    done.add(path)
    for (const next of imports.get(path) ?? []) visit(next, [...way, path])
  }
  visit('app.ts', [])
  t.ok(done.has('formats/start.ts'), 'it imports the code that reads the start of a file')
})

t.test('config.ts alone reads the environment', async (t) => {
  const readers = sources.filter(({ program, imports }) => {
    let reads = imports.includes('node:process')
    full(program, (node) => {
      if (node.type !== 'MemberExpression') return
      const { object, property } = node as unknown as Record<
        'object' | 'property',
        { name?: string; value?: string }
      >
      if (object.name === 'process' && (property.name ?? property.value) === 'env') reads = true
    })
    return reads
  })
  t.strictSame(
    readers.map(({ path }) => path),
    ['config.ts'],
  )
})

t.test('no module does work when it is imported', async (t) => {
  const working = sources
    .filter((source) => !isProgram(source))
    .flatMap(({ path, program }) =>
      program.body
        .filter(({ type }) => type === 'ExpressionStatement')
        .map(({ loc }) => `${path}:${loc!.start.line}`),
    )
  t.strictSame(working, [])
})
