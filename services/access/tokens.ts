import { createHash, randomUUID, timingSafeEqual } from 'node:crypto'
import { link, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { newId } from '../ids.ts'

/**
 * Opens the admin's tokens: those of the configuration, or else one that the first start creates and stores in
 * `dataDir`, readable only by its owner.
 *
 * @returns `made` is the token that this call created, to be shown once
 */
export async function openAccessTokens({
  accessTokens,
  dataDir,
}: {
  accessTokens: string[]
  dataDir: string
}): Promise<{ tokens: string[]; made?: string }> {
  if (accessTokens.length > 0) return { tokens: accessTokens }
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  const path = join(dataDir, 'access-token')
  const made = newId()
  // A link appears at once and with its content, so another process that starts now does not read half a token. The
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
