import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { connect } from '../../../stores/data/connect.ts'
import { newFolder } from '../../helpers/folder.ts'
import { findPostgres, runPostgres } from '../../helpers/postgres.ts'

const bin = findPostgres()

t.test('PostgreSQL over TLS', { skip: bin ? false : 'PostgreSQL is not installed' }, async (t) => {
  const folder = newFolder(t)
  const [certificate, key] = [join(folder, 'server.crt'), join(folder, 'server.key')]
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost']
  execFileSync(
    'openssl',
    [
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-days',
      '2',
      '-out',
      certificate,
      '-keyout',
      key,
      ...subject,
    ],
    {
      stdio: 'ignore',
    },
  )
  chmodSync(folder, 0o755)
  if (process.getuid?.() === 0) {
    const user = (option: string) => Number(execFileSync('id', [option, 'postgres'], { encoding: 'utf8' }))
    chownSync(key, user('-u'), user('-g'))
  }
  t.ok(statSync(key).size > 0)
  const server = await runPostgres(bin!, {
    fsync: 'off',
    listen_addresses: '127.0.0.1,::1',
    ssl: 'on',
    ssl_cert_file: certificate,
    ssl_key_file: key,
  })
  t.teardown(() => server.remove())
  const port = new URL(server.url).port
  const open = async (host: string, query: string) => {
    const databaseUrl = `postgres://postgres@${host}:${port}/postgres?${query}`
    const connection = await connect({ databaseUrl, dataDir: folder }, { attach: false })
    t.teardown(connection.close)
    return connection.sql
  }
  const root = `sslrootcert=${encodeURIComponent(certificate)}`

  await t.test('a large statement and a large result come through', async (t) => {
    const sql = await open('localhost', `sslmode=verify-full&${root}`)
    t.match(await sql`select ssl from pg_stat_ssl where pid = pg_backend_pid()`, [{ ssl: true }])
    const text = 'a'.repeat(8 * 1024 * 1024)
    const results = await Promise.all(
      Array.from({ length: 8 }, () => sql`select ${text}::text as text, md5(${text}::text) as md5`),
    )
    for (const [row] of results) t.ok(row!.text === text)
    t.match(await sql`select 1 as one`, [{ one: 1 }], 'the connections work afterwards')
  })

  await t.test('sslrootcert decides which server is trusted', async (t) => {
    const verified = await open('127.0.0.1', `sslmode=verify-ca&${root}`)
    t.match(await verified`select 1 as one`, [{ one: 1 }], 'verify-ca does not check the name')
    await t.rejects(open('localhost', 'sslmode=verify-full'), { message: /self-signed certificate/ })
    await t.rejects(open('127.0.0.1', `sslmode=verify-full&${root}`), {
      code: 'ERR_TLS_CERT_ALTNAME_INVALID',
    })
  })

  await t.test('the host may be an IPv6 address', async (t) => {
    const sql = await open('[::1]', '')
    t.match(await sql`select host(inet_server_addr()) as host`, [{ host: '::1' }])
  })
})
