import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import pkg from '../package.json' with { type: 'json' }

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const pages = ['README.md', 'CONTRIBUTING.md', 'SECURITY.md', ...globSync('docs/*.md', { cwd: ROOT })]
const read = (page: string) => readFileSync(join(ROOT, page), 'utf8')
const exists = (path: string) => existsSync(join(ROOT, path))

const FOLDERS =
  'bench|bin|deploy|docs|formats|migrations|patches|plugins|process|routes|schemas|services|stores|test|web'

for (const page of pages) {
  t.test(`${page}: every path exists`, async (t) => {
    const paths = read(page).matchAll(new RegExp(`\`((?:${FOLDERS})/[\\w./-]*)\``, 'g'))
    for (const [, path = ''] of paths) t.ok(exists(path), path)
    const files = read(page).matchAll(/`([\w-]+\.(?:ts|yaml|json))`/g)
    for (const [, file = ''] of files)
      t.ok(
        exists(file) || globSync(`{${FOLDERS.replaceAll('|', ',')}}/**/${file}`, { cwd: ROOT }).length > 0,
        file,
      )
    t.pass()
  })

  t.test(`${page}: every link to a page and a heading works`, async (t) => {
    for (const [, target = '', heading] of read(page).matchAll(/\]\(([^)#:]*)(?:#([\w-]+))?\)/g)) {
      const linked = target === '' ? page : normalize(join(dirname(page), target))
      if (!exists(linked)) t.fail(linked)
      else if (heading) t.ok(headingsOf(linked).includes(heading), `${linked}#${heading}`)
    }
    t.pass()
  })

  t.test(`${page}: every npm command is a script`, async (t) => {
    for (const [, script = ''] of read(page).matchAll(/npm run ([\w:-]+)/g))
      t.ok(script in pkg.scripts, script)
    t.pass()
  })
}

t.test('each dependency has a line in docs/dependencies.md', async (t) => {
  const lines = read('docs/dependencies.md').split('\n')
  const named = lines.flatMap((line) => (/^\| ([^|]+) \|/.exec(line)?.[1] ?? '').split(', '))
  for (const name of Object.keys({ ...pkg.dependencies, ...pkg.devDependencies }))
    t.ok(named.includes(name.replace(/^@types\/.*/, '@types/*')), name)
})

/** The anchors of a page's headings, as GitHub makes them. */
const headingsOf = (page: string) =>
  [...read(page).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\w\s-]/g, '')
      .replaceAll(' ', '-'),
  )
