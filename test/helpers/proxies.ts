import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { freePort } from './ports.ts'
import { until } from './server.ts'

const commands = { nginx: ['-v'], haproxy: ['-v'], caddy: ['version'] }
export type ProxyName = keyof typeof commands

/** The reason why tests with a proxy cannot run, or `false`. */
export const missing = (proxy: ProxyName) =>
  spawnSync(proxy, commands[proxy]).status === 0 ? false : `${proxy} is not installed`

/** nginx with the shipped configuration. nginx 1.22 of Debian has no `resolve`, so the servers are listed. */
function shippedNginx(port: number, backends: number[], folder: string) {
  const shipped = readFileSync(new URL('../../deploy/compose/nginx.conf', import.meta.url), 'utf8')
  return shipped
    .replace(
      'server api:3000 resolve max_fails=0;',
      backends.map((each) => `server 127.0.0.1:${each} max_fails=0;`).join(' '),
    )
    .replace('listen 3000;', `listen 127.0.0.1:${port};`)
    .replace(/^ *resolver .*$/m, '')
    .replace('worker_processes auto;', 'user root;\nworker_processes 2;\ndaemon off;\nerror_log stderr;')
    .replaceAll('/tmp/', `${folder}/`)
}

/** nginx with only `proxy_pass` and no tuning. */
const plainNginx = (port: number, backends: number[], folder: string) => `
  user root; daemon off; worker_processes 2; pid ${folder}/pid; error_log stderr;
  events {}
  http {
    access_log off; client_max_body_size 0;
    client_body_temp_path ${folder}/a; proxy_temp_path ${folder}/b; fastcgi_temp_path ${folder}/c;
    uwsgi_temp_path ${folder}/d; scgi_temp_path ${folder}/e;
    upstream hasty { ${backends.map((each) => `server 127.0.0.1:${each};`).join(' ')} }
    server { listen 127.0.0.1:${port}; location / { proxy_pass http://hasty; } }
  }`

const haproxy = (port: number, backends: number[]) => `
  defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout check 5s
    option redispatch
    retry-on conn-failure
  frontend f
    bind 127.0.0.1:${port} proto h2
    bind 127.0.0.1:${port + 1}
    default_backend hasty
  backend hasty
    balance roundrobin
    option httpchk GET /readyz
    ${backends.map((each, n) => `server s${n} 127.0.0.1:${each}${backends.length > 1 ? ' check inter 300ms fall 3 rise 1' : ''}`).join('\n    ')}
`

const caddy = (port: number, backends: number[]) => `{
  admin off
  auto_https off
}
http://127.0.0.1:${port} {
  reverse_proxy ${backends.map((each) => `127.0.0.1:${each}`).join(' ')}
}`

const kinds = {
  'nginx, shipped': { command: 'nginx', config: shippedNginx, args: ['-c'] },
  'nginx, plain': { command: 'nginx', config: plainNginx, args: ['-c'] },
  haproxy: { command: 'haproxy', config: haproxy, args: ['-db', '-f'] },
  caddy: { command: 'caddy', config: caddy, args: ['run', '--adapter', 'caddyfile', '--config'] },
} as const
export type Kind = keyof typeof kinds

/** A free port whose next one is free too. */
async function freePortWithNext(): Promise<number> {
  for (;;) {
    const port = await freePort()
    const next = createServer().listen(port + 1, '127.0.0.1')
    const isFree = await once(next, 'listening').then(
      () => true,
      () => false,
    )
    next.close()
    if (isFree) return port
  }
}

/** Starts a proxy before some ports of the loopback. HAProxy speaks h2 on the returned port and HTTP/1.1 on the next. */
export async function startProxy(t: Test, kind: Kind, backends: number[]): Promise<number> {
  const { command, config, args } = kinds[kind]
  const folder = await mkdtemp(join(tmpdir(), 'hasty-proxy-'))
  const port = await freePortWithNext()
  const path = join(folder, 'config')
  await writeFile(path, `${config(port, backends, folder)}\n`)
  const child: ChildProcess = spawn(command, [...args, path], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder },
  })
  let errors = ''
  child.stderr!.on('data', (data) => {
    errors += data
  })
  t.teardown(async () => {
    child.kill('SIGTERM')
    if (child.exitCode === null) await once(child, 'exit')
    await rm(folder, { recursive: true, force: true })
  })
  await until(async () => {
    if (child.exitCode !== null) throw new Error(`${command} ended: ${errors}`)
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    socket.destroy()
    return true
  }, 30_000)
  return port
}
