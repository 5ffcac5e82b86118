import type { Argv, CommandModule } from 'yargs'
import type { Options } from './output.ts'

/** The arguments of a command, after the parser. */
// biome-ignore lint/suspicious/noExplicitAny: yargs can't infer the types of positional arguments
export type Arguments = Options & Record<string, any>

/** A command. Its result is the exit code; without one, it is 0. */
export interface Command {
  command: string
  describe: string
  examples?: [string, string][]
  options?: (yargs: Argv) => Argv
  run(options: Arguments): Promise<number | undefined>
}

/** A group of commands, such as `link`. */
export interface Group {
  name: string
  describe: string
  commands: Command[]
}

/** Converts a command for yargs. The exit code goes to `finish`. */
export const toModule = (
  { command, describe, examples = [], options = (yargs) => yargs, run }: Command,
  finish: (code: number) => void,
): CommandModule => ({
  command,
  describe,
  builder: (yargs) => options(yargs.example(examples)),
  handler: async (parsed) => finish((await run(parsed as never)) ?? 0),
})

/** Converts a group of commands for yargs. */
export const toGroup = (
  { name, describe, commands }: Group,
  finish: (code: number) => void,
): CommandModule => ({
  command: name,
  describe,
  builder: (yargs) =>
    yargs
      .command(commands.map((command) => toModule(command, finish)))
      .demandCommand(
        1,
        `Name one of these commands: ${commands.map(({ command }) => command.split(' ')[0]).join(', ')}.`,
      ),
  handler: () => {},
})

/** The id of a link or an image in an argument: the id itself, or a URL that ends with it. */
export const idOf = (argument: string) => argument.split(/[?#]/)[0]!.replace(/\/+$/, '').split('/').at(-1)!
