import t from 'tap'
import { readDisposition } from '../../../services/uploads/disposition.ts'

const latin1 = (text: string) => Buffer.from(text).toString('latin1')

t.test('the file name of each client is read as the client means it', async (t) => {
  for (const [client, parameters, fileName] of [
    ['browsers, UTF-8', latin1('filename="café.png"'), 'café.png'],
    ['browsers, a quote', 'filename="a%22b.png"', 'a"b.png'],
    ['browsers, a percent sign', 'filename="100%25.png"', '100%25.png'],
    ['browsers, a backslash', 'filename="a\\b.png"', 'a\\b.png'],
    ['curl, a quote', 'filename="a\\"b.png"', 'a"b.png'],
    ['curl, a backslash', 'filename="a\\\\b.png"', 'a\\b.png'],
    ['a Windows path', 'filename="C:\\folder\\cat.png"', 'cat.png'],
    ['a Windows path, escaped', 'filename="C:\\\\folder\\\\cat.png"', 'cat.png'],
    ['a folder', 'filename="folder/cat.png"', 'cat.png'],
    ['windows-1252', 'filename="caf\xe9 \x80.png"', 'café €.png'],
    ['without quotes', 'filename=cat.png', 'cat.png'],
    ['a semicolon in quotes', 'filename="a;b.png"', 'a;b.png'],
    ['RFC 8187', "filename*=UTF-8''%e2%82%ac.png", '€.png'],
    ['RFC 8187 in lower case', "filename*=utf-8'en'%E2%82%AC.png", '€.png'],
    ['RFC 8187 first', 'filename*=UTF-8\'\'%e2%82%ac.png; filename="euro.png"', '€.png'],
    ['RFC 8187 and ISO-8859-1', "filename*=iso-8859-1''caf%E9.png", 'café.png'],
    ['RFC 8187 and Shift_JIS', "filename*=Shift_JIS''%93%fa%96%7b.png", '日本.png'],
    ['Postman', 'filename="=?UTF-8?B?5Zu+LnBuZw==?="; filename*="UTF-8\'\'%E5%9B%BE.png"', '图.png'],
    ['a mail library, base64', 'filename="=?UTF-8?B?5Zu+LnBuZw==?="', '图.png'],
    ['a mail library, "Q"', 'filename="=?iso-8859-1?q?caf=E9_au_lait?=.png"', 'café au lait.png'],
    ['a mail library, a language', 'filename="=?UTF-8*de?B?w6Q=?="', 'ä'],
    ['a mail library, two words', 'filename="=?UTF-8?B?5Zu+?=\t =?UTF-8?Q?.png?="', '图.png'],
    ['a mail library, a path', 'filename="=?UTF-8?Q?=2E=2E=2Fcat.png?="', 'cat.png'],
    ['a word of an unknown character set', 'filename="=?x?B?w6Q=?="', '=?x?B?w6Q=?='],
    ['a name that only looks like a word', 'filename="=?a?=.png"', '=?a?=.png'],
    ['an open quote', 'filename="cut', 'cut'],
    ['a path that names a folder', 'filename=".."', undefined],
    ['none', 'x=y', undefined],
  ] as const)
    t.equal(readDisposition(`form-data; name="image"; ${parameters}`).fileName, fileName, client)
})

t.test('every field name is accepted, also names such as constructor', async (t) => {
  for (const name of ['constructor', '__proto__', 'toString', 'a b', 'ä', ''])
    t.equal(readDisposition(latin1(`form-data; name="${name}"`)).name, name, name)
  t.equal(readDisposition('form-data; filename="a"').name, undefined)
  t.equal(readDisposition('').name, undefined)
  t.equal(readDisposition('Form-Data; NAME=x').type, 'form-data')
})

t.test('4 KB of broken encoded words are read in a moment', async (t) => {
  const start = performance.now()
  for (const piece of ['=?', '=?a', '=?a?', '=?a?b', '=?a?b?', '?= ', '?=\t=?', '=?a*', '=?utf-8?b?', ' '])
    readDisposition(`form-data; name="a"; filename="${piece.repeat(4096 / piece.length)}"`)
  t.ok(performance.now() - start < 1000)
})
