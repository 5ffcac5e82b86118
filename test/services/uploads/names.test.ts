import t from 'tap'
import { cleanName } from '../../../services/uploads/names.ts'

t.test('the same name in any Unicode form is stored in NFC', async (t) => {
  for (const name of ['été.png', 'Ångström.jpg', '한국어.heic', 'がぎぐ.png', 'Tiếng Việt.webp', 'שּׁ.png']) {
    for (const form of ['NFC', 'NFD'] as const)
      t.equal(cleanName(name.normalize(form)), name.normalize('NFC'), `${name} ${form}`)
  }
  t.equal(cleanName('\u212b.png'), '\u00c5.png', 'ANGSTROM SIGN is LATIN CAPITAL LETTER A WITH RING ABOVE')
  t.equal(cleanName('\ufb01.png'), '\ufb01.png', 'a ligature stays: NFC does not change the meaning')
})

t.test('a removed character does not keep a letter and its accent apart', async (t) => {
  for (const between of ['\0', '\u202e', '\u0007']) t.equal(cleanName(`e${between}\u0301.png`), '\u00e9.png')
})

t.test('a stored name stays the same if it is cleaned again', async (t) => {
  for (const name of ['  e\u0301 \n', 'a\ud800b', `${'e\u0301'.repeat(300)}`, '\u0301', ''])
    t.equal(cleanName(cleanName(name)), cleanName(name), JSON.stringify(name.slice(0, 10)))
  t.equal([...cleanName('e\u0301'.repeat(300))].length, 255, 'the limit counts characters of the stored form')
})
