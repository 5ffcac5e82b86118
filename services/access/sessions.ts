import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { DataStore } from '../../stores/data/data-store.ts'
import type { SessionRow } from '../../stores/data/interfaces/sessions.ts'
import { WrongToken } from '../errors.ts'
import { hashOf, type Principal, type Principals, ROOT } from './principal.ts'

/** How long a session lasts, in milliseconds. It is not extended. */
export const SESSION_MS = 12 * 3_600_000

const SECRET_BYTES = 32

/**
 * The sessions of the console. All processes share them. Only the browser has the secret of a session. The database has
 * its SHA-256, and what is needed to see that the access token is still valid: the hash of a named token, and an HMAC of
 * a token of the configuration with the secret as the key. Therefore a session ends with its token, and somebody who reads
 * the database gets neither a session nor a token.
 */
export function createSessions({
  data: { sessions },
  principals,
  rootTokens,
}: {
  data: Pick<DataStore, 'sessions'>
  principals: Principals
  /** The tokens of the configuration. */
  rootTokens: readonly string[]
}) {
  function isProofOfRoot(secret: string, proof: string) {
    const given = Buffer.from(proof, 'hex')
    return rootTokens.map((token) => timingSafeEqual(proofOf(secret, token), given)).includes(true)
  }

  const principalOf = async (secret: string, { tokenHash, proof }: SessionRow) => {
    if (tokenHash !== null) return principals.ofHash(tokenHash)
    return proof !== null && isProofOfRoot(secret, proof) ? ROOT : undefined
  }

  return {
    /** Opens a session for an access token. @throws {WrongToken} */
    async open(token: string): Promise<{ secret: string; principal: Principal }> {
      const principal = await principals.ofToken(token)
      if (!principal) throw new WrongToken()
      const secret = randomBytes(SECRET_BYTES).toString('base64url')
      const isNamed = principal.tokenId !== undefined
      const { id, expiresAt } = await sessions.insert({
        id: idOf(secret),
        tokenHash: isNamed ? hashOf(token) : null,
        proof: isNamed ? null : proofOf(secret, token).toString('hex'),
        milliseconds: SESSION_MS,
      })
      return { secret, principal: { ...principal, session: { id, expiresAt } } }
    },

    /** Finds the principal of a session by its secret. Undefined if the session, or its token, is no longer valid. */
    async find(secret: string): Promise<Principal | undefined> {
      const row = isSecret(secret) ? await sessions.find(idOf(secret)) : undefined
      const principal = row && (await principalOf(secret, row))
      return principal && { ...principal, session: { id: row.id, expiresAt: row.expiresAt } }
    },

    /** Ends a session, in all processes. */
    close: (id: string) => sessions.delete(id),
  }
}

const isSecret = (text: string) => /^[\w-]{43}$/.test(text)
const idOf = (secret: string) => createHash('sha256').update(secret).digest('hex')
const proofOf = (secret: string, token: string) => createHmac('sha256', secret).update(token).digest()
