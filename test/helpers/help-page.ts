// node test/helpers/help-page.ts > docs/commands.md
import { COMMANDS, runCommand } from '../../bin/run-command.ts'
import { captureOutput } from './capture-output.ts'

const HEAD = `# The commands of npx hasty

This page has the help of each command, as the program prints it. [command-line.md](command-line.md) explains the commands and
shows their outputs.
`

const nameOf = (command: string) => command.split(' ')[0]!

/** The page of the documents with the help of each command. */
export async function renderHelp(): Promise<string> {
  const names = COMMANDS.flatMap((each) =>
    'commands' in each
      ? each.commands.map(({ command }) => `${each.name} ${nameOf(command)}`)
      : nameOf(each.command),
  )
  let page = HEAD
  for (const name of names) page += `\n## ${name}\n\n\`\`\`\n${await helpOf(name)}\`\`\`\n`
  return page
}

async function helpOf(name: string) {
  const output = captureOutput(process.stdout)
  const { columns } = process.stdout
  // The width of the program without a terminal.
  process.stdout.columns = 0
  try {
    await runCommand([...name.split(' '), '--help'])
    return output.text()
  } finally {
    output.restore()
    process.stdout.columns = columns
  }
}

if (import.meta.main) process.stdout.write(await renderHelp())
