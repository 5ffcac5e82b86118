import { randomUUID } from 'node:crypto'
import { access, rename, writeFile } from 'node:fs/promises'
import { readClientConfig, readConfig } from '../../config.ts'
import { SCOPES, type Scope, scopes } from '../../schemas/tokens.ts'
import { newId } from '../../services/ids.ts'
import { type Api, openApi } from '../api.ts'
import type { Command } from '../command.ts'
import { recordLocally } from '../local.ts'
import { CommandError, EXIT, pairs, print, style, table, time } from '../output.ts'

const create: Command = {
  command: 'create <name>',
  describe: 'Create a token with a name and scopes, and print it once',
  examples: [['hasty token create front-desk --scope links:write stats:read', 'for people who create links']],
  options: (yargs) =>
    yargs
      .option('scope', {
        type: 'array',
        choices: scopes,
        demandOption: true,
        describe: 'what the token allows',
      })
      .epilog(
        Object.entries(SCOPES)
          .map(([scope, meaning]) => `${scope}: ${meaning}`)
          .join('\n'),
      ),
  async run(options) {
    const api = await openApi()
    const created = await api.call('createToken', {
      body: { name: options.name, scopes: [...new Set(options.scope as Scope[])] },
    })
    print(options, created, () => `${style('bold', created.token)}\n\nIt is not stored. Keep it now.`)
    return 0
  },
}

const list: Command = {
  command: 'list',
  describe: 'List the tokens, newest first',
  async run(options) {
    const tokens = await readTokens(await openApi())
    print(options, tokens, () =>
      tokens.length === 0
        ? 'There are no named tokens. The root token of the configuration is not listed.'
        : table(
            ['NAME', 'SCOPES', 'CREATED', 'BY', 'STATUS', 'ID'],
            tokens.map((token) => [
              token.name,
              token.scopes.join(' '),
              time(token.createdAt),
              token.createdBy,
              token.revokedAt ? 'revoked' : 'valid',
              token.id,
            ]),
            ['NAME', 'SCOPES', 'ID'],
          ),
    )
    return 0
  },
}

const readTokens = (api: Api) => Array.fromAsync(api.all((query) => api.call('listTokens', { query })))

/** The id of a token that is given by its id or by its name. */
async function findToken(api: Api, given: string) {
  const matching = (await readTokens(api)).filter(
    ({ id, name, revokedAt }) => id === given || (name === given && !revokedAt),
  )
  if (matching.length === 1) return matching[0]!
  if (matching.length > 1)
    throw new CommandError(
      `${matching.length} tokens have the name ${given}. Give the id: hasty token list`,
      EXIT.usage,
    )
  throw new CommandError(`There is no token with the name or id ${given}: hasty token list`)
}

const rotate: Command = {
  command: 'rotate [token]',
  describe: 'Replace a token by a new one; without a name, the root token on this machine',
  examples: [
    ['hasty token rotate front-desk', 'the old token ends at once'],
    ['hasty token rotate', 'the root token in DATA_DIR; restart the service afterwards'],
  ],
  async run(options) {
    if (options.token === undefined) return rotateRoot(options)
    const api = await openApi()
    const { id } = await findToken(api, options.token)
    const rotated = await api.call('rotateToken', { id })
    print(
      options,
      rotated,
      () => `${style('bold', rotated.token)}\n\nIt is not stored. Keep it now. The old token has ended.`,
    )
    return 0
  },
}

async function rotateRoot(options: Parameters<typeof print>[0]) {
  const { accessTokens, accessTokenFile, dataDir } = readConfig()
  if (readClientConfig().isGiven || accessTokens.length > 0 || accessTokenFile !== undefined)
    throw new CommandError(
      'The root token is in ACCESS_TOKEN or ACCESS_TOKEN_FILE of the service. Set the new and the old one there, separated ' +
        'by a comma, restart the service, and remove the old one later. To create a token: openssl rand -hex 24. ' +
        'To rotate a named token: hasty token rotate NAME',
      EXIT.usage,
    )
  const path = `${dataDir}/access-token`
  await access(path).catch(() => {
    throw new CommandError(`${path} does not exist. The first start of the service creates it.`)
  })
  const draft = `${path}.${randomUUID()}`
  await writeFile(draft, `${newId()}\n`, { mode: 0o600, flag: 'wx' })
  await rename(draft, path)
  await recordLocally('rotateRootToken')
  print(options, { file: path }, () =>
    pairs([
      ['New root token', path],
      ['Next step', 'restart the service; until then the old token is valid'],
    ]),
  )
  return 0
}

const revoke: Command = {
  command: 'revoke <token>',
  describe: 'Revoke a token',
  async run(options) {
    const api = await openApi()
    const { id, name } = await findToken(api, options.token)
    await api.call('revokeToken', { id })
    print(options, { revoked: id }, () => `The token ${name} is revoked.`)
    return 0
  },
}

export const token = [create, list, rotate, revoke]
