import t from 'tap'
import { createPaddingFilter } from '../../plugins/transport-padding.ts'

const BODY = '--b \t\r\nX: 1\r\n\r\nfirst \r\n-- \t\r\n--b\r\nX: 2\r\n\r\n--b \r\n\r\n--b\t--\t \r\nend'
const EXPECTED = '\r\n--b\r\nX: 1\r\n\r\nfirst \r\n-- \t\r\n--b\r\nX: 2\r\n\r\n--b\r\n\r\n--b--\t \r\nend'

t.test('only blanks after a boundary are removed, for any chunks of the body', async (t) => {
  for (let size = 1; size <= BODY.length; size++) {
    const filter = createPaddingFilter('b')
    let result = ''
    for (let at = 0; at < BODY.length; at += size) result += filter(Buffer.from(BODY.slice(at, at + size)))
    t.equal(result, EXPECTED, `chunks of ${size}`)
  }
})

t.test('at most a part of a boundary is held back', async (t) => {
  const filter = createPaddingFilter('boundary')
  t.equal(filter(Buffer.from('x')).toString(), '\r\nx')
  t.equal(filter(Buffer.from('data\r\n--bound')).toString(), 'data')
  t.equal(filter(Buffer.from('less')).toString(), '\r\n--boundless')
})
