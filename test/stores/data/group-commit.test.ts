import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import postgres from 'postgres'
import t from 'tap'
import { groupCommit } from '../../../stores/data/group-commit.ts'

/** A write that does not end until the test ends it, for each call. */
function held() {
  const batches: { items: string[]; end(error?: Error): void }[] = []
  const write = groupCommit((items: string[]) => {
    const { promise, resolve, reject } = Promise.withResolvers<string[]>()
    const end = (error?: Error) =>
      error ? reject(error) : resolve(items.map((item) => `${item} is written`))
    batches.push({ items, end })
    return promise
  })
  return { batches, write }
}

/** An error of the database. */
const refused = (code: string) => Object.assign(Object.create(postgres.PostgresError.prototype), { code })

t.test(
  'a single item is written at once, and items that arrive during a write are written together',
  async (t) => {
    const { batches, write } = held()
    const first = write('a')
    t.strictSame(batches[0]!.items, ['a'])
    const others = ['b', 'c'].map(write)
    t.equal(batches.length, 1)
    batches[0]!.end()
    t.equal(await first, 'a is written')
    await turn()
    t.strictSame(batches[1]!.items, ['b', 'c'])
    batches[1]!.end()
    t.strictSame(await Promise.all(others), ['b is written', 'c is written'])
    await turn()
    write('d')
    t.strictSame(batches[2]!.items, ['d'], 'nothing is under way any more')
  },
)

t.test('no item waits long for a write that is blocked', async (t) => {
  const { batches, write } = held()
  const standing = write('a')
  const other = write('b')
  await sleep(100)
  t.strictSame(batches[1]!.items, ['b'])
  batches[1]!.end()
  t.equal(await other, 'b is written')
  batches[0]!.end()
  t.equal(await standing, 'a is written')
})

t.test('at most sixteen items are written together', async (t) => {
  const { batches, write } = held()
  for (let n = 0; n < 40; n++) write(`${n}`)
  t.strictSame(
    batches.map(({ items }) => items.length),
    [1, 16, 16],
  )
  await sleep(100)
  t.equal(batches[3]!.items.length, 7)
})

t.test(
  'if the database is unavailable, all items fail; if it refuses a value, only that item fails',
  async (t) => {
    const { batches, write } = held()
    write('a').catch(() => {})
    const both = Promise.allSettled(['b', 'c'].map(write))
    batches[0]!.end()
    await turn()
    batches[1]!.end(Object.assign(new Error(), { code: 'CONNECTION_CLOSED' }))
    t.match(await both, [
      { status: 'rejected', reason: { code: 'CONNECTION_CLOSED' } },
      { status: 'rejected', reason: { code: 'CONNECTION_CLOSED' } },
    ])

    const asked = Promise.allSettled(['f', 'g', 'h'].map(write))
    batches[2]!.end(refused('40001'))
    await turn()
    batches[3]!.end(refused('57P01'))
    t.match(
      (await asked).map((outcome) => outcome.status === 'rejected' && outcome.reason.code),
      ['40001', '57P01', '57P01'],
    )

    write('d').catch(() => {})
    const [bad, good] = ['no \0 text', 'e'].map(write)
    batches[4]!.end()
    await turn()
    batches[5]!.end(refused('22P05'))
    await turn()
    t.strictSame(
      batches.slice(6).map(({ items }) => items),
      [['no \0 text'], ['e']],
    )
    batches[6]!.end(refused('22P05'))
    batches[7]!.end()
    await t.rejects(bad!, { code: '22P05' })
    t.equal(await good, 'e is written')
  },
)
