import { randomUUID } from 'node:crypto'
import t from 'tap'
import { Format } from 'typebox/format'
import { fromPage, toPageRequest } from '../../services/cursor.ts'
import { newId } from '../../services/ids.ts'

const encode = (text: string) => Buffer.from(text).toString('base64url')
const show = (row: { id: string }) => row.id

t.test('without a cursor and a limit it is the first page, of 50 items', async (t) => {
  t.strictSame(toPageRequest({}), { limit: 50 })
  t.strictSame(toPageRequest({ limit: 3 }), { limit: 3 })
})

t.test('the cursor of a page leads to the next one', async (t) => {
  for (const [id, canBeId] of [
    [newId(), undefined],
    [randomUUID(), Format.IsUuid],
  ] as const) {
    for (const time of [0, 1, Date.parse('2026-11-01T12:00:00.123Z'), Date.parse('5000-01-01T00:00:00Z')]) {
      const next = { at: new Date(time), id }
      const page = fromPage({ items: [{ id: 'a' }, { id: 'b' }], next }, show)
      t.strictSame(page.items, ['a', 'b'])
      const { nextCursor } = page as { nextCursor: string }
      t.match(nextCursor, /^[\w-]{1,200}$/, 'it fits a URL')
      t.strictSame(toPageRequest({ limit: 2, cursor: nextCursor }, canBeId), { limit: 2, after: next })
    }
  }
})

t.test('the last page has no cursor', async (t) => {
  t.strictSame(fromPage({ items: [{ id: 'a' }] }, show), { items: ['a'] })
  t.strictSame(fromPage({ items: [] }, show), { items: [] })
})

t.test('a cursor of another list is refused', async (t) => {
  const id = newId()
  for (const cursor of [
    '',
    'garbage',
    '%%%',
    id,
    encode(''),
    encode(id),
    encode(`.${id}`),
    encode(`1.`),
    encode(`1${id}`),
    encode(`-1.${id}`),
    encode(`1.5.${id}`),
    encode(`1e3.${id}`),
    encode(`NaN.${id}`),
    encode(` 1.${id}`),
    encode(`1.${id} `),
    encode(`1.${id}\n`),
    encode(`1.${id.slice(1)}`),
    encode(`1.${id}${id}`),
    encode(`1.${randomUUID()}`),
    encode(`1.' or true --`),
    encode(`1.\0`),
    // After the year 9999, which the database has no text for.
    encode(`999999999999999.${id}`),
    encode(`99999999999999999999.${id}`),
  ]) {
    t.throws(() => toPageRequest({ cursor }), { name: 'InvalidCursor', status: 400 }, cursor)
  }
  t.throws(() => toPageRequest({ cursor: encode(`1.${id}`) }, Format.IsUuid), { name: 'InvalidCursor' })
})
