import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { FILE_DESCRIPTOR } from './messages.ts'

/**
 * How far a process that reads strangers' bytes is isolated. Each level includes the ones after it.
 *
 * - `namespaces`: bubblewrap. The process sees its own program files and nothing else of the file system, no other
 *   process and no network.
 * - `network`: unshare. The process has no network.
 * - `permissions`: an empty environment, an empty pipe instead of a file name, and Node's permission model, which
 *   restricts JavaScript but not native code.
 */
export const LEVELS = ['namespaces', 'network', 'permissions'] as const
export type Level = (typeof LEVELS)[number]

/** How sandboxed processes are started on this machine. */
export interface Sandbox {
  level: Level
  /** Whether the process has no-new-privs and rlimits (setpriv and prlimit are installed). */
  limited: boolean
  /**
   * The command line that runs a module of this program in the sandbox.
   *
   * @param memory bytes that the process may allocate, enforced by the kernel if `limited`
   */
  command(module: string, args: string[], options: { memory: number }): [file: string, args: string[]]
}

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))
/** The files that a sandboxed process may read, relative to the program's folder. */
const READABLE = ['package.json', 'node_modules', 'formats', 'schemas', 'services/analysis']
/** Shared libraries, and the fonts that an SVG may name. */
const SYSTEM = ['/usr', '/lib', '/lib64', '/bin', '/etc/ld.so.cache', '/etc/fonts', '/var/cache/fontconfig']
const MAX_OPEN_FILES = 64
/** The address space that Node reserves with two threads. It uses little of it. 1.2 GiB were measured. */
const NODE_BYTES = 2 ** 31
const PROBE_TIMEOUT_MS = 5_000

let detected: Promise<Sandbox> | undefined

/** The strongest level that works on this machine. It is detected once for each process, in some 30 ms. */
export function detectSandbox(): Promise<Sandbox> {
  detected ??= (async () => {
    const limited = await works([
      'setpriv',
      ['--no-new-privs', '--pdeathsig', 'SIGKILL', 'prlimit', '--core=0', 'true'],
    ])
    for (const level of LEVELS) {
      const sandbox = createSandbox(level, limited)
      if (level === 'permissions' || (await works(probe(sandbox)))) return sandbox
    }
    throw new Error('unreachable')
  })()
  return detected
}

/** A sandbox of this level. It is not checked whether the level works here. */
export const createSandbox = (level: Level, limited: boolean): Sandbox => ({
  level,
  limited,
  command(module, args, { memory }) {
    // An empty environment, also without the search path that the launchers need.
    const node = ['env', '-i', process.execPath, ...permissions(module), module, ...args]
    const [file, ...rest] = [...isolate(level, module), ...(limited ? limit(level, memory) : []), ...node]
    return [file!, rest]
  },
})

/** Whether the sandbox can be started: Node prints its version there, which takes some milliseconds. */
function probe(sandbox: Sandbox): [string, string[]] {
  const [file, args] = sandbox.command(fileURLToPath(import.meta.url), [], { memory: 2 ** 30 })
  return [file, [...args.slice(0, args.indexOf('--permission')), '--version']]
}

async function works([file, args]: [string, string[]]) {
  const child = spawn(file, args, {
    stdio: 'ignore',
    env: searchPath(),
    timeout: PROBE_TIMEOUT_MS,
    // A signal of a terminal to the whole group must not change the result.
    detached: true,
  })
  const [code] = await once(child, 'exit').catch(() => [1])
  return code === 0
}

/** The environment of the launchers: they are found by PATH. Their own children get an empty one where possible. */
export const searchPath = () => ({ PATH: '/usr/local/bin:/usr/bin:/bin' })

function isolate(level: Level, module: string): string[] {
  if (level === 'permissions') return []
  if (level === 'network') return ['unshare', '--user', '--map-current-user', '--net', '--ipc', '--uts']
  return [
    'bwrap',
    '--unshare-all',
    '--unshare-user',
    '--die-with-parent',
    '--new-session',
    '--clearenv',
    ...['--cap-drop', 'ALL'],
    ...SYSTEM.flatMap((path) => ['--ro-bind-try', path, path]),
    ...['--ro-bind', process.execPath, process.execPath],
    ...READABLE.flatMap((path) => ['--ro-bind', ROOT + path, ROOT + path]),
    ...['--ro-bind-try', module, module],
    ...['--proc', '/proc', '--dev', '/dev', '--chdir', '/'],
  ]
}

/** Resource limits, no privileges, and the end of the process when its parent's ends. */
function limit(level: Level, memory: number): string[] {
  const isRoot = process.getuid?.() === 0
  return [
    'prlimit',
    ...['--core=0', '--fsize=0', `--nofile=${MAX_OPEN_FILES}`, `--data=${memory + NODE_BYTES}`],
    'setpriv',
    ...['--no-new-privs', '--pdeathsig', 'SIGKILL'],
    ...(isRoot && level === 'permissions' ? ['--bounding-set=-all', '--inh-caps=-all'] : []),
  ]
}

/** Node's permission model: read the program's own files, load sharp, start a thread. */
const permissions = (module: string) => [
  '--permission',
  '--allow-addons',
  '--allow-worker',
  ...[module, ...READABLE.map((path) => ROOT + path)].map((path) => `--allow-fs-read=${path}`),
  `--allow-fs-read=/proc/self/fd/${FILE_DESCRIPTOR}`,
  '--disable-warning=SecurityWarning',
]
