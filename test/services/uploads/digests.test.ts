import { createHash } from 'node:crypto'
import t from 'tap'
import { parseDigests } from '../../../services/uploads/digests.ts'

const hex = (fields: string[]) => {
  const digests = parseDigests(fields)
  return digests && Object.fromEntries([...digests].map(([name, digest]) => [name, digest.toString('hex')]))
}
const digestOf = (algorithm: string, text: string) => createHash(algorithm).update(text).digest('hex')
const field = (name: string, algorithm: string, text: string) =>
  `${name}=:${createHash(algorithm).update(text).digest('base64')}:`

// RFC 9530 Appendix B, where the content is {"hello": "world"} and a line feed.
const HELLO = '{"hello": "world"}\n'
const SHA_256 = 'sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:'
const SHA_512 =
  'sha-512=:YMAam51Jz/jOATT6/zvHrLVgOYTGFy1d6GJiOHTohq4yP+pgk4vf2aCsyRZOtw8MjkM7iw7yZ/WkppmM44T3qg==:'

t.test('the examples of RFC 9530', async (t) => {
  t.strictSame(hex([SHA_256]), { sha256: digestOf('sha256', HELLO) })
  t.strictSame(hex([SHA_512]), { sha512: digestOf('sha512', HELLO) })
  t.strictSame(hex([`${SHA_256},${SHA_512}`]), {
    sha256: digestOf('sha256', HELLO),
    sha512: digestOf('sha512', HELLO),
  })
})

t.test('both fields may be present if they agree', async (t) => {
  t.strictSame(hex([]), {})
  t.strictSame(hex(['']), {})
  t.strictSame(hex([SHA_256, SHA_256]), { sha256: digestOf('sha256', HELLO) })
  t.strictSame(Object.keys(hex([SHA_256, SHA_512])!), ['sha256', 'sha512'])
  t.strictSame(Object.keys(hex([` ${SHA_256} ,\t${SHA_512}`])!), ['sha256', 'sha512'], 'blanks are allowed')
})

t.test('contradictory digests are invalid', async (t) => {
  t.equal(parseDigests([SHA_256, field('sha-256', 'sha256', 'another')]), undefined)
  t.equal(parseDigests([`${SHA_512}, ${SHA_256}`, field('sha-512', 'sha512', 'another')]), undefined)
})

t.test('all other algorithms are ignored', async (t) => {
  t.strictSame(hex(['md5=:1B2M2Y8AsgTpgAmY7PhCfg==:']), {})
  t.strictSame(hex([`unixsum=:AAA=:, ${SHA_256}, crc32c=:AAAAAA==:`]), { sha256: digestOf('sha256', HELLO) })
  t.strictSame(hex(['sha-384=1, sha=?0, sha-1="text", *=token']), {}, 'whatever their value is')
  for (const name of ['constructor', 'sha256', 'sha512', 'sha-3', '*proto']) {
    t.strictSame(hex([`${name}=:AAAA:`]), {}, name)
  }
  t.strictSame(hex(['constructor']), {})
})

t.test('a malformed field is invalid, not absent', async (t) => {
  for (const malformed of [
    'sha-256',
    'sha-256=',
    'sha-256=RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=',
    'sha-256="RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg="',
    'sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=',
    'sha-256=:*:',
    'sha-256=1',
    'sha-256=?1',
    'sha-256=(:AAAA:)',
    'SHA-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:',
    `${SHA_256},`,
    `${SHA_256} ${SHA_512}`,
    `${SHA_256};`,
    'ü',
    '\0',
    ',',
  ]) {
    t.equal(parseDigests([malformed]), undefined, malformed)
    t.equal(parseDigests([SHA_512, malformed]), undefined)
  }
})

t.test('a digest that is too short never matches', async (t) => {
  t.strictSame(hex(['sha-256=:AAAA:']), { sha256: '000000' })
  t.strictSame(hex(['sha-256=::']), { sha256: '' })
})
