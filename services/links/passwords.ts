import { createHash, createHmac, randomBytes, scrypt, timingSafeEqual } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
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
/** While very many networks send wrong passwords to a link, each of its checks takes at least this long. */
const SLOWED_MS = 250
/** The most checks of one link that wait then, each of another network. */
const MAX_SLOWED = 20

/** The credentials of a request for a link with a password. */
export interface Credentials {
  /** From `Authorization: Basic`. */
  password?: string | undefined
  /** From the cookie that `pass` has made. */
  pass?: string | undefined
}

/** A check of a network that waits for its turn. */
interface WaitingCheck {
  /** Of the password. */
  digest: string
  isRight: Promise<boolean>
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
 * A network may send a tenth of `limit` wrong passwords in a minute. After `limit` wrong passwords from all networks together,
 * the checks of a link are slowed down, and a network may send one wrong password. So nobody can lock a link for others: the
 * passwords of a network that has sent no wrong one are checked, unless too many checks wait (`Busy`).
 *
 * @param limit failed look-ups per network and minute (GUESS_LIMIT). 0: no limit
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

  /** The links that are slowed down: the end of the last wait, and the check of each network that is not done yet. */
  const slowed = new Map<string, { last: Promise<void>; checks: Map<string, WaitingCheck> }>()

  /**
   * Runs a check of a link that is slowed down. Only one check of a network waits, so that a network cannot take all
   * places. The same password does not need a second one.
   *
   * @throws {Busy}
   */
  async function inSlowTurn(linkId: string, network: string, digest: string, check: () => Promise<boolean>) {
    const { last, checks } = slowed.get(linkId) ?? { last: Promise.resolve(), checks: new Map() }
    const own = checks.get(network)
    if (own?.digest === digest) return own.isRight
    if (own || checks.size >= MAX_SLOWED) throw new Busy()
    const next = last.then(() => setTimeout(SLOWED_MS))
    slowed.set(linkId, { last: next, checks })
    const isRight = next.then(check).finally(() => {
      checks.delete(network)
      if (checks.size === 0) slowed.delete(linkId)
    })
    checks.set(network, { digest, isRight })
    return isRight
  }

  /** Counts the wrong passwords of a link and of a client's network. */
  function countersOf(link: LinkRow, network: string) {
    const [ofNetwork, ofLink] = [`password ${network}`, `password ${digestOf(link.id)}`]
    const isSlowed = () => failedLookups.of(ofLink).current >= limit
    return {
      isSlowed,
      /** @throws {TooManyFailedLookups} */
      allow() {
        const most = isSlowed() ? 1 : Math.ceil(limit / STRICTER_THAN_LOOKUPS)
        if (failedLookups.of(ofNetwork).current >= most) throw new TooManyFailedLookups()
      },
      addFailure() {
        failedLookups.add(ofNetwork)
        failedLookups.add(ofLink, { isAlwaysCounted: true })
      },
    }
  }

  return {
    /**
     * Makes sure that a request may use a link. A link without a password accepts every request. No password of a network
     * above its limit of wrong passwords is checked: a right one would be found by guessing.
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
      const counters = limit === 0 ? undefined : countersOf(link, network)
      counters?.allow()
      const check = () =>
        inTurn(async () => {
          // Once more: passwords that were sent at the same time may have been wrong.
          counters?.allow()
          const isRight = await matches(password, passwordHash)
          if (!isRight) counters?.addFailure()
          return isRight
        })
      const isRight = await (counters?.isSlowed() ? inSlowTurn(link.id, network, digest, check) : check())
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
