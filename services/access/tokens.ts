import { createHash, randomUUID, timingSafeEqual } from 'node:crypto'
import { link, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { newId } from '../ids.ts'

const TOKENS = /^[\x21-\x2b\x2d-\x7e]+(,[\x21-\x2b\x2d-\x7e]+)*$/

/**
 * Opens the admin's tokens: those of the configuration or of its file. Without either, the first start creates one and
 * stores it in `dataDir`, readable only by its owner.
 *
 * @returns `made` is the token that this call created
 * @throws {Error} if a file has no valid tokens
 */
export async function openAccessTokens({
  accessTokens,
  accessTokenFile,
  dataDir,
}: {
  accessTokens: string[]
  accessTokenFile?: string | undefined
  dataDir: string
}): Promise<{ tokens: string[]; made?: string }> {
  if (accessTokens.length > 0) return { tokens: accessTokens }
  if (accessTokenFile !== undefined) return { tokens: await readTokens(accessTokenFile) }
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  const path = join(dataDir, 'access-token')
  const made = newId()
  // A hard link appears together with its content, so another process that starts now does not read half a token. The
  // draft's name is random, because processes in two containers may have the same process id.
  const draft = `${path}.${randomUUID()}`
  await writeFile(draft, `${made}\n`, { mode: 0o600, flag: 'wx' })
  try {
    await link(draft, path)
    return { tokens: [made], made }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  } finally {
    await rm(draft)
  }
  const stored = (await readFile(path, 'utf8')).trim()
  if (stored === '')
    throw new Error(`${path} is empty. Delete it, and the next start creates a new access token.`)
  return { tokens: [stored] }
}

async function readTokens(path: string) {
  const content = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new Error(
      `ACCESS_TOKEN_FILE is ${path}, which can't be read (${error.code}). Check the path and its mode.`,
    )
  })
  const tokens = content.trim()
  if (!TOKENS.test(tokens))
    throw new Error(
      `ACCESS_TOKEN_FILE is ${path}. It must contain tokens of visible ASCII characters, separated by commas. ` +
        'To create one, run: openssl rand -hex 24',
    )
  return tokens.split(',')
}

const MIN_BITS = 128
const MIN_DISTINCT_CHARACTERS = 8

/**
 * Whether a token may have 128 bits: as many as a random token of its length would have. The shortest hexadecimal token
 * has 32 characters, the shortest of letters and digits 22.
 */
export function isStrongToken(token: string): boolean {
  if (new Set(token).size < MIN_DISTINCT_CHARACTERS) return false
  return token.length * Math.log2(alphabetSize(token)) >= MIN_BITS
}

function alphabetSize(token: string) {
  if (/^\d+$/.test(token)) return 10
  return /^([\da-f]+|[\dA-F]+)$/.test(token) ? 16 : 64
}

/** Makes a function that compares a token with all valid ones. Its time does not depend on them. */
export function createTokenCheck(tokens: readonly string[]): (token: string) => boolean {
  const digest = (token: string) => createHash('sha256').update(token).digest()
  const valid = tokens.map(digest)
  return (token) => {
    const given = digest(token)
    // Every token is compared, also after a match.
    return valid.map((each) => timingSafeEqual(each, given)).includes(true)
  }
}
