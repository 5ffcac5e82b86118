import { buildApp } from './app.ts'
import worker from './plugins/worker.ts'
import { run } from './run.ts'

await run('server', async (config, log) => {
  const app = buildApp(config, log)
  if (config.workerProcesses > 0) app.register(worker)
  await app.listen({ host: config.host, port: config.port })
  if (app.madeAccessToken) {
    // Not by the log, which is kept: this is the one time that it is shown.
    process.stdout.write(
      `\n  The access token is ${app.madeAccessToken}\n  It is kept in ${config.dataDir}/access-token.\n\n`,
    )
  }
  return () => app.close()
})
