#!/usr/bin/env node
import { runCommand } from './run-command.ts'

// A reader such as head has read enough. The command ends with its own exit code.
for (const stream of [process.stdout, process.stderr])
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
  })
process.exitCode = await runCommand(process.argv.slice(2))
