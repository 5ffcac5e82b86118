import yargs from 'yargs'
import { ConfigError } from '../config.ts'
import { BadBackup } from '../services/backup/dump-file.ts'
import { NotEmpty } from '../services/backup/index.ts'
import { DataDirInUse } from '../stores/data/embedded/index.ts'
import { WrongStore } from '../stores/installation.ts'
import { StoreUnavailable } from '../stores/unavailable.ts'
import { type Command, type Group, toGroup, toModule } from './command.ts'
import { audit } from './commands/audit.ts'
import { backup, rebuild, restore } from './commands/backup.ts'
import { doctor } from './commands/doctor.ts'
import { download } from './commands/download.ts'
import { images } from './commands/images.ts'
import { link } from './commands/link.ts'
import { stats } from './commands/stats.ts'
import { sweep } from './commands/sweep.ts'
import { token } from './commands/token.ts'
import { upload } from './commands/upload.ts'
import { verify } from './commands/verify.ts'
import { CommandError, EXIT, note } from './output.ts'

const MAX_WIDTH = 110

/** The commands and the groups of commands, in the order of the help. */
export const COMMANDS: (Command | Group)[] = [
  { name: 'link', describe: 'Create, list, show, extend and revoke links', commands: link },
  upload,
  { name: 'images', describe: 'List, show, get, remove and analyse images', commands: images },
  download,
  stats,
  { name: 'token', describe: 'Create, list, rotate and revoke access tokens', commands: token },
  audit,
  sweep,
  verify,
  doctor,
  backup,
  restore,
  rebuild,
]

/**
 * Runs a command, and prints its result and its errors.
 *
 * @param args the arguments, without the names of Node and of the program
 * @returns the exit code: see `EXIT`
 */
export async function runCommand(args: string[]): Promise<number> {
  let exitCode: number = EXIT.done
  let outputError: Error | undefined
  const remember = (error: Error) => {
    outputError = error
  }
  process.stdout.on('error', remember)
  try {
    await createParser(args, (code) => {
      exitCode = code
    }).parseAsync()
    return exitCode
  } catch (error) {
    // The reader of the output has read enough. A connection that breaks has the same code.
    if ((error as NodeJS.ErrnoException).code === 'EPIPE' && error === outputError) return EXIT.done
    const { message, code } = explain(error)
    note(message)
    return code
  } finally {
    process.stdout.off('error', remember)
  }
}

/** @param finish gets the exit code of the command */
const createParser = (args: string[], finish: (code: number) => void) =>
  yargs(args)
    .scriptName('hasty')
    .locale('en')
    .usage('hasty <command>: administration of Hasty from a terminal')
    .command(COMMANDS.map((each) => ('commands' in each ? toGroup(each, finish) : toModule(each, finish))))
    .completion('completion', 'Print the completion for bash or zsh')
    .option('json', { type: 'boolean', default: false, describe: 'print JSON, also in a terminal' })
    .demandCommand(1, 'Name a command. hasty --help lists them.')
    .recommendCommands()
    .strict()
    .wrap(Math.min(MAX_WIDTH, process.stdout.columns || MAX_WIDTH))
    .epilog(
      'HASTY_URL and HASTY_TOKEN name a service on another machine. Without them, commands use the service on this machine. ' +
        'Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not reachable, 4 not allowed, 5 partly done.',
    )
    .exitProcess(false)
    .fail((message, error) => {
      // Without a message, a command has failed.
      throw message
        ? new CommandError(`${message}\nhasty --help lists the commands and options.`, EXIT.usage)
        : error
    })

/** The exit code of an error, and its message for a person. */
function explain(error: unknown): { message: string; code: number } {
  if (error instanceof CommandError) return { message: error.message, code: error.exitCode }
  if (
    error instanceof ConfigError ||
    error instanceof WrongStore ||
    error instanceof NotEmpty ||
    error instanceof BadBackup
  )
    return { message: error.message, code: EXIT.usage }
  if (error instanceof StoreUnavailable || error instanceof DataDirInUse)
    return { message: error.message, code: EXIT.unreachable }
  const { stack, message } = error as Error
  return { message: stack ?? message, code: EXIT.failed }
}
