import t from 'tap'
import type { Rejection } from '../../../services/errors.ts'
import { createAdmission } from '../../../services/uploads/admission.ts'
import type { LinkRow } from '../../../stores/data/interfaces/links.ts'

const LIMITS = {
  uploads: 4,
  uploadsPerLink: 2,
  uploadsPerAddress: 3,
  stagedBytes: 100,
  stagedBytesPerLink: 50,
}
const link = (id: string, limits: Partial<LinkRow> = {}) =>
  ({ id, maxBytes: null, usedBytes: 0, maxFileSize: null, ...limits }) as LinkRow

/** The reason of the rejection that a call throws. */
function reasonOf(call: () => void) {
  try {
    call()
  } catch (error) {
    return (error as Rejection).reason
  }
  return undefined
}

t.test('requests are limited by link, by address, and in all', async (t) => {
  const { enter, load } = createAdmission(LIMITS)
  const [one, two] = [enter(link('a'), '1'), enter(link('a'), '1')]
  t.throws(() => enter(link('a'), '2'), { name: 'TooManyUploads' }, 'the link')
  enter(link('b'), '1')
  t.throws(() => enter(link('c'), '1'), { name: 'TooManyUploads' }, 'the address')
  enter(link('c'), '2')
  t.throws(() => enter(link('d'), '3'), { name: 'Busy' }, 'the process')
  t.equal(load.requests, 4)
  one.leave()
  two.leave()
  enter(link('a'), '1')
  t.equal(load.requests, 3)
})

t.test('staged bytes are limited by link and in all, until they are released', async (t) => {
  const { enter, load } = createAdmission(LIMITS)
  const first = enter(link('a'), '1').stage(link('a'))
  const second = enter(link('a'), '1').stage(link('a'))
  first.add(30)
  t.equal(
    reasonOf(() => second.add(21)),
    'busy',
    'the link',
  )
  second.add(20)
  const other = enter(link('b'), '1').stage(link('b'))
  other.add(50)
  t.equal(
    reasonOf(() => enter(link('c'), '2').stage(link('c')).add(1)),
    'busy',
    'the process',
  )
  first.release()
  first.release()
  t.equal(load.stagedBytes, 70, 'released once')
  second.add(30)
})

t.test("a part is limited by the link's remaining bytes and by its largest file", async (t) => {
  const { enter } = createAdmission(LIMITS)
  const limited = link('a', { maxBytes: 30, usedBytes: 20, maxFileSize: 15 })
  const upload = enter(limited, '1')
  t.equal(
    reasonOf(() => upload.stage(limited).add(11)),
    'link_used_up',
  )
  t.equal(
    reasonOf(() => upload.stage(limited).add(16)),
    'too_large',
  )
  upload.stage(limited).add(10)
})
