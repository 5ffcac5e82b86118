import { createHash, createHmac, randomBytes, scrypt, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import type { LinkRow } from '../../stores/data/interfaces/links.ts'
import type { createFailedLookups } from '../access/failed-lookups.ts'
import { createCache } from '../cache.ts'
import { Busy, PasswordRequired, TooManyFailedLookups, WrongPassword } from '../errors.ts'

const derive = promisify(scrypt) as (password: string, salt: Buffer, length: number) => Promise<Buffer>

const SALT_BYTES = 16
const KEY_BYTES = 32
// Each takes about 50 ms of one core and 16 MiB.
const MAX_WAITING = 50
const KNOWN_FOR_MS = 5 * 60_000
/** How long a browser stays unlocked. */
export const UNLOCKED_SECONDS = 12 * 3600
// A password that a person has chosen is easier to guess than an id.
const STRICTER_THAN_LOOKUPS = 10

/** The credentials of a request for a link with a password. */
export interface Credentials {
  /** From `Authorization: Basic`. */
  password?: string | undefined
  /** From the cookie that `pass` has made. */
  pass?: string | undefined
}

export type Passwords = ReturnType<typeof createPasswords>

/** The hash of a link's password: the salt and the key of scrypt with Node's default cost, in Base64. */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(SALT_BYTES)
  const key = await derive(password.normalize('NFC'), salt, KEY_BYTES)
  return `scrypt$${salt.toString('base64')}$${key.toString('base64')}`
}

async function matches(password: string, hash: string) {
  const [, salt = '', key = ''] = hash.split('$')
  const derived = await derive(password.normalize('NFC'), Buffer.from(salt, 'base64'), KEY_BYTES)
  return timingSafeEqual(derived, Buffer.from(key, 'base64'))
}

/**
 * Checks the passwords of links.
 *
 * @param limit failed look-ups per network and minute (GUESS_LIMIT); a tenth of it is the limit of wrong passwords. 0: no limit
 */
export function createPasswords({
  failedLookups,
  limit,
}: {
  failedLookups: ReturnType<typeof createFailedLookups>
  limit: number
}) {
  // Digests of passwords that were right, so that a program with many requests is not slow.
  const known = createCache<true>({ capacity: 1_000, ttl: KNOWN_FOR_MS })
  let last: Promise<unknown> = Promise.resolve()
  let waiting = 0

  /** Runs one check at a time, because each costs much. */
  async function inTurn<Result>(check: () => Promise<Result>): Promise<Result> {
    if (waiting >= MAX_WAITING) throw new Busy()
    waiting++
    const result = last.then(check)
    last = result.catch(() => {})
    return result.finally(() => {
      waiting--
    })
  }

  /** The keys under which wrong passwords are counted, and how many each may have in a minute. */
  const tallies = (link: LinkRow, network: string) => [
    { key: `password ${network}`, most: Math.ceil(limit / STRICTER_THAN_LOOKUPS), isAlwaysCounted: false },
    { key: `password ${digestOf(link.id)}`, most: limit, isAlwaysCounted: true },
  ]

  return {
    /**
     * Makes sure that a request may use a link. A link without a password accepts every request. Above the limit of wrong
     * passwords, no password is checked: a right one would be found by guessing.
     *
     * @param network the client's network
     * @throws {PasswordRequired | WrongPassword | TooManyFailedLookups | Busy}
     */
    async require(link: LinkRow, { password, pass }: Credentials, network: string): Promise<void> {
      const { passwordHash } = link
      if (passwordHash === null || (pass !== undefined && isPass(pass, link, Date.now()))) return
      if (password === undefined) throw new PasswordRequired()
      const digest = digestOf(passwordHash + password)
      if (known.get(digest)) return
      const all = limit === 0 ? [] : tallies(link, network)
      const allow = () => {
        if (all.some(({ key, most }) => failedLookups.of(key).current >= most))
          throw new TooManyFailedLookups()
      }
      allow()
      const isRight = await inTurn(async () => {
        // Once more: passwords that were sent at the same time may have been wrong.
        allow()
        const isRight = await matches(password, passwordHash)
        if (!isRight) for (const { key, isAlwaysCounted } of all) failedLookups.add(key, { isAlwaysCounted })
        return isRight
      })
      if (isRight) return known.set(digest, true)
      throw new WrongPassword()
    },

    /** A pass for `UNLOCKED_SECONDS`, for a client that has shown the password. A new password ends it. */
    pass(link: LinkRow): string {
      return signPass(link, Date.now() + UNLOCKED_SECONDS * 1000)
    },
  }
}

const digestOf = (text: string) => createHash('sha256').update(text).digest('base64')

/** A time and its signature. The key is the hash of the password, which nobody outside the service knows. */
const signPass = ({ id, passwordHash }: LinkRow, until: number) =>
  `${until}.${createHmac('sha256', passwordHash!).update(`${id} ${until}`).digest('base64url')}`

function isPass(pass: string, link: LinkRow, now: number) {
  const until = Number(pass.split('.', 1)[0])
  if (!(until > now)) return false
  const [given, expected] = [pass, signPass(link, until)].map((text) =>
    createHash('sha256').update(text).digest(),
  )
  return timingSafeEqual(given!, expected!)
}
