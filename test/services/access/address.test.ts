import t from 'tap'
import { networksOf } from '../../../services/access/address.ts'

t.test('every notation of an address is counted as one client', async (t) => {
  for (const [expected, ...written] of [
    [
      '192.0.2.1',
      '192.0.2.1',
      '::ffff:192.0.2.1',
      '::FFFF:c000:201',
      '192.0.2.1:4711',
      '[::ffff:192.0.2.1]:80',
    ],
    [
      '127.0.0.1',
      '127.0.0.1',
      '::1',
      '[::1]',
      '[::1]:443',
      '::ffff:127.0.0.1',
      '0:0:0:0:0:0:0:1',
      '127.1.2.3',
    ],
  ]) {
    for (const address of written) t.strictSame(networksOf(address), [expected], address)
  }
  for (const address of [
    '2001:db8:1:2::3',
    '2001:DB8:1:2:0:0:0:3',
    '[2001:db8:1:2::9]:80',
    '2001:db8:1:2::3%eth0',
  ])
    t.strictSame(networksOf(address), ['2001:db8:1:2::/64', '2001:db8:1::/48'], address)
})

t.test('other networks are counted separately', async (t) => {
  t.strictSame(networksOf('2001:db8:1:3::1'), ['2001:db8:1:3::/64', '2001:db8:1::/48'])
  t.strictSame(networksOf('2001:db8:2:2::1'), ['2001:db8:2:2::/64', '2001:db8:2::/48'])
  t.strictSame(networksOf('192.0.2.2'), ['192.0.2.2'])
})

t.test('a text that is not an address is counted by its first characters', async (t) => {
  for (const text of ['', 'unknown', '_hidden', '999.1.1.1', '0x7f.1', '1.2.3', ':::', '[', '[]:80'])
    t.equal(networksOf(text).length, 1, text)
  t.ok(networksOf('f'.repeat(1_000_000))[0]!.length <= 100)
})

t.test('a client that has closed its connection has no address, and counts as one network', async (t) => {
  t.strictSame(networksOf(undefined), [''])
})
