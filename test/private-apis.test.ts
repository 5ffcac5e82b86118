import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { full } from 'acorn-walk'
import t from 'tap'
import { readSources } from './helpers/sources.ts'

interface PrivateUse {
  package: string
  /** The version that the code was written for. Read the new version's source before you change this number. */
  version: string
  /** The file that uses it, and a text in it that shows the use. */
  file: string
  mark: string
  /** What is used, and why there is no other way. */
  reason: string
}

const USES: PrivateUse[] = [
  {
    package: '@electric-sql/pglite',
    version: '0.5.14',
    file: 'stores/data/embedded/thread.ts',
    mark: '_PostgresMainLoopOnce',
    reason:
      'PGlite calls a backend that has ended for ever (electric-sql/pglite#1058). The thread ends instead.',
  },
  {
    package: '@electric-sql/pglite',
    version: '0.5.14',
    file: 'stores/data/embedded/durable-files.ts',
    mark: 'NODEFS.stream_ops.fsync',
    reason: "Emscripten's NODEFS does not flush, so a power cut would lose answered uploads.",
  },
  {
    package: '@electric-sql/pglite-socket',
    version: '0.2.17',
    file: 'stores/data/embedded/session-queue.ts',
    mark: 'as unknown as QueryQueue',
    reason: "The package's queue mixes the statements of several connections (electric-sql/pglite#1046).",
  },
  {
    package: 'libheif-js',
    version: '1.23.2',
    file: 'formats/decode/heif.ts',
    mark: 'const STRICT = 21',
    reason: 'The JavaScript interface has no option for strict decoding. This is its place in a C struct.',
  },
  {
    package: 'postgres',
    version: '3.4.9',
    file: 'patches/postgres+3.4.9.patch',
    mark: 'node_modules/postgres/src/connection.js',
    reason:
      'Faults of lost connections. The upstream issues are in the patch folder or in docs/dependencies.md.',
  },
  {
    package: 'yazl',
    version: '3.3.1',
    file: 'patches/yazl+3.3.1.patch',
    mark: 'node_modules/yazl/index.js',
    reason: 'It looks at all earlier files for each file, and computes CRC-32 in JavaScript.',
  },
]

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8')
const { dependencies } = JSON.parse(read('package.json')) as { dependencies: Record<string, string> }

t.test('each private part of a package is used with the version that it was written for', async (t) => {
  for (const { package: name, version, file, mark, reason } of USES) {
    const installed = JSON.parse(read(`node_modules/${name}/package.json`)).version
    t.equal(installed, version, `${name} is installed in another version: check ${file}. ${reason}`)
    t.equal(dependencies[name], version, `package.json has the exact version of ${name}`)
    t.ok(read(file).includes(mark), `${file} still uses it`)
  }
})

t.test('Node still has the property httpAllowHalfOpen, which it does not document', async (t) => {
  // There is no documented option with this effect. test/plugins/delivery.test.ts tests the effect.
  const server = createServer()
  t.equal(Object.getOwnPropertyDescriptor(server, 'httpAllowHalfOpen')?.value, false)
  const users = readSources('*.ts', '{bin,formats,plugins,process,routes,schemas,services,stores}/**/*.ts')
    .map(({ path }) => path)
    .filter((path) => read(path).includes('httpAllowHalfOpen'))
  t.strictSame(users, ['plugins/delivery.ts'])
})

t.test(
  'the length of the queue of a server that listens can still be changed, which Node does not document',
  async (t) => {
    // test/process/stop-listening.test.ts tests the effect.
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.teardown(() => server.close())
    const { _handle } = server as unknown as { _handle: { listen(backlog: number): number } }
    t.equal(_handle.listen(0), 0)
  },
)

t.test('no other file uses a private part of a package', async (t) => {
  const known = new Set([...USES.map(({ file }) => file), 'process/stop-listening.ts'])
  const found = readSources('*.ts', '{bin,formats,plugins,process,routes,schemas,services,stores}/**/*.ts')
    .filter(({ path }) => !known.has(path))
    .flatMap(({ path, program }) => {
      const names: string[] = []
      full(program, (node) => {
        if (node.type !== 'MemberExpression') return
        const { property } = node as unknown as { property: { name?: string; value?: unknown } }
        const name = property.name ?? String(property.value)
        if (/^_[a-zA-Z]/.test(name)) names.push(`${path}:${node.loc!.start.line} ${name}`)
      })
      return names
    })
  t.strictSame(found, [], 'a name that begins with an underscore is private')
})
