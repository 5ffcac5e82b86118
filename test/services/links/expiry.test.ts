import t, { type Test } from 'tap'
import { expiryOf } from '../../../services/links/expiry.ts'

const NOW = '2026-11-01T12:34:56.789Z'

/** When a link expires that is made at `now`. */
const expires = (link: { sinceNow?: string; timeExact?: string }, now = NOW) =>
  expiryOf(link, Date.parse(now)).toISOString()

function refuses(
  t: Test,
  link: { sinceNow?: string; timeExact?: string },
  detail: RegExp,
  { now = NOW, name = JSON.stringify(link) } = {},
) {
  t.throws(() => expires(link, now), { name: 'InvalidExpiry', status: 400, message: detail }, name)
}

const NO_DURATION = /^sinceNow must be an ISO 8601 duration/
const NO_INSTANT = /^timeExact must be an RFC 3339 date and time/
const TOO_SOON = /^A link must be open for at least 30 s\./
const TOO_LATE = /^The link would expire after the year 9999\./

t.test('a duration counts from now on the calendar in UTC', async (t) => {
  for (const [now, sinceNow, expected] of [
    [NOW, 'PT1H', '2026-11-01T13:34:56.789Z'],
    [NOW, 'PT36H', '2026-11-03T00:34:56.789Z'],
    [NOW, 'P1D', '2026-11-02T12:34:56.789Z'],
    [NOW, 'P1W', '2026-11-08T12:34:56.789Z'],
    [NOW, 'P2W3D', '2026-11-18T12:34:56.789Z'],
    [NOW, 'P1M', '2026-12-01T12:34:56.789Z'],
    [NOW, 'P14M', '2028-01-01T12:34:56.789Z'],
    [NOW, 'P1Y2M3W4DT5H6M7S', '2028-01-26T17:41:03.789Z'],
    [NOW, 'P0Y0M0DT0H1M', '2026-11-01T12:35:56.789Z'],
    ['2026-01-31T00:00:00.000Z', 'P1M', '2026-02-28T00:00:00.000Z'],
    ['2028-01-31T23:59:59.999Z', 'P1M', '2028-02-29T23:59:59.999Z'],
    ['2026-01-31T00:00:00.000Z', 'P1M1D', '2026-03-01T00:00:00.000Z'],
    ['2026-01-31T00:00:00.000Z', 'P2M', '2026-03-31T00:00:00.000Z'],
    ['2026-12-31T00:00:00.000Z', 'P2M', '2027-02-28T00:00:00.000Z'],
    ['2028-02-29T00:00:00.000Z', 'P1Y', '2029-02-28T00:00:00.000Z'],
    ['2028-02-29T00:00:00.000Z', 'P4Y', '2032-02-29T00:00:00.000Z'],
    ['2028-02-29T00:00:00.000Z', 'P1M', '2028-03-29T00:00:00.000Z'],
  ] as const) {
    t.equal(expires({ sinceNow }, now), expected, `${now} and ${sinceNow}`)
  }
})

t.test('the time zone of the service does not matter', async (t) => {
  const { TZ } = process.env
  t.teardown(() => {
    if (TZ === undefined) delete process.env.TZ
    else process.env.TZ = TZ
  })
  for (const zone of ['America/New_York', 'Pacific/Kiritimati', 'Pacific/Niue']) {
    process.env.TZ = zone
    // New York puts its clocks back on 1 November 2026 and forward on 14 March 2027.
    t.equal(expires({ sinceNow: 'P1D' }, '2026-10-31T23:30:00.000Z'), '2026-11-01T23:30:00.000Z', zone)
    t.equal(expires({ sinceNow: 'P1M' }, '2027-02-28T23:30:00.000Z'), '2027-03-28T23:30:00.000Z', zone)
    t.equal(expires({ sinceNow: 'P1M' }, '2026-01-31T00:30:00.000Z'), '2026-02-28T00:30:00.000Z', zone)
  }
})

t.test('the last unit of time may have a fraction', async (t) => {
  t.equal(expires({ sinceNow: 'PT1.5H' }), '2026-11-01T14:04:56.789Z')
  t.equal(expires({ sinceNow: 'PT1,5H' }), '2026-11-01T14:04:56.789Z', 'ISO 8601 prefers the comma')
  t.equal(expires({ sinceNow: 'P1DT0.5H' }), '2026-11-02T13:04:56.789Z')
  t.equal(expires({ sinceNow: 'PT1H30.25M' }), '2026-11-01T14:05:11.789Z')
  t.equal(expires({ sinceNow: 'PT45.0015S' }), '2026-11-01T12:35:41.791Z')
  for (const sinceNow of ['PT1.5H30M', 'PT1.5H0M', 'PT.5H', 'PT1.H', 'PT1.5.5H']) {
    refuses(t, { sinceNow }, NO_DURATION)
  }
})

t.test('years, months, weeks and days have no fraction', async (t) => {
  for (const sinceNow of ['P1.5Y', 'P1.5M', 'P1,5M', 'P0.5W', 'P1.5D', 'P1.5DT1H']) {
    refuses(t, { sinceNow }, /only the last of hours, minutes and seconds may have a fraction/)
  }
})

t.test('a text that is not a duration is refused', async (t) => {
  for (const sinceNow of [
    '',
    'P',
    'PT',
    'P1DT',
    'P1',
    '1H',
    'PT1',
    'P1H',
    'PT1D',
    'PT1H1H',
    'PT1M1H',
    'P1D1M',
    '-PT1H',
    '+PT1H',
    'PT-1H',
    'P1D ',
    ' P1D',
    'P1D\n',
    'P 1D',
    'pt1h',
    'PT1h',
    'PT１H',
    'PT1e3S',
    'PT0x10S',
    'PTInfinityS',
    'P1D/P1D',
    'R5/PT1H',
    'P0001-00-00T00:00:00',
    'one hour',
    '3600',
  ]) {
    refuses(t, { sinceNow }, NO_DURATION)
  }
})

t.test('a link is open for at least 30 s', async (t) => {
  t.equal(expires({ sinceNow: 'PT30S' }), '2026-11-01T12:35:26.789Z')
  t.equal(expires({ sinceNow: 'PT0.5M' }), '2026-11-01T12:35:26.789Z')
  t.equal(expires({ timeExact: '2026-11-01T12:35:26.789Z' }), '2026-11-01T12:35:26.789Z')
  for (const sinceNow of ['P0D', 'PT0S', 'P0Y0M0W0DT0H0M0S', 'PT29.999S', 'PT0.4999M', 'PT10S']) {
    refuses(t, { sinceNow }, TOO_SOON)
  }
  for (const timeExact of [
    '2026-11-01T12:35:26.788Z',
    '2026-11-01T12:35:06Z',
    NOW,
    '2026-10-31T12:34:56Z',
    '1970-01-01T00:00:00Z',
    '0000-01-01T00:00:00Z',
  ]) {
    refuses(t, { timeExact }, TOO_SOON)
  }
})

t.test('a link expires in the year 9999 at the latest', async (t) => {
  t.equal(expires({ sinceNow: 'P7973Y' }), '9999-11-01T12:34:56.789Z')
  t.equal(expires({ timeExact: '9999-12-31T23:59:59.999Z' }), '9999-12-31T23:59:59.999Z')
  refuses(t, { timeExact: '9999-12-31T23:59:59-00:01' }, TOO_LATE)
  for (const sinceNow of ['P7974Y', 'P100000M', 'P3000000D', `P${'9'.repeat(90)}Y`, `PT${'9'.repeat(90)}S`]) {
    refuses(t, { sinceNow }, TOO_LATE, { name: sinceNow })
  }
  refuses(t, { timeExact: '10000-01-01T00:00:00Z' }, NO_INSTANT)
  refuses(t, { timeExact: '+010000-01-01T00:00:00Z' }, NO_INSTANT)
})

t.test('an instant has a time zone, and may be written in every way of RFC 3339', async (t) => {
  for (const [timeExact, expected] of [
    ['2026-12-01T00:00:00Z', '2026-12-01T00:00:00.000Z'],
    ['2026-12-01t00:00:00z', '2026-12-01T00:00:00.000Z'],
    ['2026-12-01T00:00:00+02:00', '2026-11-30T22:00:00.000Z'],
    ['2026-12-01T00:00:00-09:30', '2026-12-01T09:30:00.000Z'],
    ['2026-12-01T00:00:00-00:00', '2026-12-01T00:00:00.000Z'],
    ['2026-12-01T00:00:00+23:59', '2026-11-30T00:01:00.000Z'],
    ['2026-12-01T00:00:00.5Z', '2026-12-01T00:00:00.500Z'],
    ['2026-12-01T00:00:00.123456789Z', '2026-12-01T00:00:00.123Z'],
    ['2028-02-29T00:00:00Z', '2028-02-29T00:00:00.000Z'],
    // A leap second is read as the second before it, like in Temporal.
    ['2026-12-31T23:59:60Z', '2026-12-31T23:59:59.000Z'],
    ['2027-01-01T08:59:60.25+09:00', '2026-12-31T23:59:59.250Z'],
  ] as const) {
    t.equal(expires({ timeExact }), expected, timeExact)
  }
  for (const timeExact of [
    '',
    'tomorrow',
    '2026-12-01',
    '2026-12-01T00:00:00',
    '2026-12-01T00:00Z',
    '2026-12-01 00:00:00Z',
    '2026-12-01T00:00:00 Z',
    ' 2026-12-01T00:00:00Z',
    '2026-12-01T00:00:00Z ',
    '2026-12-01T00:00:00+0200',
    '2026-12-01T00:00:00+24:00',
    '2026-12-01T24:00:00Z',
    '2026-12-01T00:60:00Z',
    '2026-12-01T00:00:60Z',
    '2026-12-01T00:00:00.Z',
    '2026-12-01T00:00:00Z[Europe/Berlin]',
    '2026-13-01T00:00:00Z',
    '2026-11-31T00:00:00Z',
    '2027-02-29T00:00:00Z',
    '2026-12-00T00:00:00Z',
    'Tue, 01 Dec 2026 00:00:00 GMT',
    '1796083200',
  ]) {
    refuses(t, { timeExact }, NO_INSTANT)
  }
})

t.test('uses sinceNow if both are given and it is a duration, otherwise timeExact', async (t) => {
  const timeExact = '2026-12-01T00:00:00Z'
  const sinceNow = 'PT1H'
  t.equal(expires({ sinceNow, timeExact }), '2026-11-01T13:34:56.789Z')
  t.equal(expires({ sinceNow, timeExact: 'never' }), '2026-11-01T13:34:56.789Z')
  t.equal(expires({ sinceNow, timeExact: '1970-01-01T00:00:00Z' }), '2026-11-01T13:34:56.789Z')
  for (const invalid of ['P1.5M', 'PT', '-PT1H', '']) {
    t.equal(expires({ sinceNow: invalid, timeExact }), '2026-12-01T00:00:00.000Z', invalid)
    refuses(t, { sinceNow: invalid, timeExact: '1970-01-01T00:00:00Z' }, TOO_SOON)
    refuses(t, { sinceNow: invalid, timeExact: 'never' }, /^sinceNow must be .* timeExact must be /)
  }
  refuses(t, { sinceNow: 'P0D', timeExact }, TOO_SOON)
  refuses(t, { sinceNow: 'P8000Y', timeExact }, TOO_LATE)
  refuses(t, {}, /^Send "sinceNow" .* or "timeExact" /)
})
