import { execFileSync, spawn } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { newId } from '../../../services/ids.ts'
import { openDataStore } from '../../../stores/data/index.ts'
import { newFolder } from '../../helpers/folder.ts'
import { newLink } from '../../helpers/links.ts'
import { freePort } from '../../helpers/ports.ts'
import { startPostgres } from '../../helpers/postgres.ts'
import { until } from '../../helpers/server.ts'

const postgres = startPostgres(t)

function findPgBouncer(): string | false {
  try {
    execFileSync('pgbouncer', ['--version'], { stdio: 'ignore' })
    return false
  } catch {
    return 'PgBouncer is not installed'
  }
}

for (const mode of ['transaction', 'session']) {
  t.test(
    `through PgBouncer in ${mode} mode, no call fails`,
    { skip: postgres.missing || findPgBouncer() },
    async (t) => {
      const target = new URL(await postgres.createDatabase())
      const port = await freePort()
      const folder = newFolder(t)
      chmodSync(folder, 0o755)
      writeFileSync(
        join(folder, 'pgbouncer.ini'),
        `[databases]
* = host=${target.hostname} port=${target.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
auth_type = any
unix_socket_dir =
pool_mode = ${mode}
default_pool_size = 40
ignore_startup_parameters = extra_float_digits
`.replace('* = host', `${target.pathname.slice(1)} = user=postgres host`),
      )
      const pooler = spawn(
        'pgbouncer',
        [...(process.getuid?.() === 0 ? ['-u', 'postgres'] : []), join(folder, 'pgbouncer.ini')],
        {
          stdio: 'ignore',
        },
      )
      t.teardown(() => pooler.kill('SIGKILL'))
      const warnings: string[] = []
      const onWarning = ({ message }: Error) => warnings.push(message)
      process.on('warning', onWarning)
      t.teardown(() => process.off('warning', onWarning))

      const databaseUrl = `postgres://postgres@127.0.0.1:${port}${target.pathname}`
      const data = await until(() => openDataStore({ databaseUrl, dataDir: folder }, { attach: false }))
      t.teardown(() => data.close())
      const link = await data.links.insert(newLink())
      const record = (n: number) =>
        data.uploads.record(
          { link, startedAt: new Date(), name: '', hash: `${n}`, size: 1 },
          { id: newId(), status: 'ready', metadata: { format: 'PNG', mediaType: 'image/png' } },
        )
      const calls = Array.from({ length: 300 }, (_, n) => [record(n % 100), data.links.find(link.id)]).flat()
      const outcomes = await Promise.allSettled(calls)
      t.strictSame(
        outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : [])),
        [],
      )
      t.match(await data.links.findWithCounts(link.id), { uploads: 300 })
      await new Promise(setImmediate)
      const expected = mode === 'transaction' ? [/pooler that loses prepared statements/] : []
      t.match(warnings, expected)
      t.equal(warnings.length, expected.length)
    },
  )
}
