import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import t from 'tap'
import { newId } from '../services/ids.ts'
import { signedPath } from '../services/variants/sign.ts'

const page = readFileSync(new URL('../docs/variants.md', import.meta.url), 'utf8')
const exampleIn = (language: string) => new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``).exec(page)![1]!

const KEY = '8796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a6978'
const id = newId()
const parameters = { w: 700, h: 500, fit: 'cover', format: 'webp' }
const expected = signedPath(Buffer.from(KEY, 'hex'), `/images/${id}`, parameters)
const json = JSON.stringify(parameters)

const programs: [language: string, program: string, args: (example: string) => string[]][] = [
  [
    'js',
    process.execPath,
    (example) => [
      '--input-type=module',
      '-e',
      `${example}\nconsole.log(signedPath('${KEY}', '${id}', ${json}))`,
    ],
  ],
  ['python', 'python3', (example) => ['-c', `${example}\nprint(signed_path('${KEY}', '${id}', ${json}))`]],
  [
    'php',
    'php',
    (example) => ['-r', `${example}\necho signed_path('${KEY}', '${id}', json_decode('${json}', true));`],
  ],
  [
    'sh',
    'sh',
    (example) => ['-c', `${example}\nsigned_path ${KEY} ${id} 'fit=cover&format=webp&h=500&w=700'`],
  ],
]

for (const [language, program, args] of programs) {
  const isMissing = spawnSync(program, ['--version']).error !== undefined
  t.test(
    `the example of docs/variants.md in ${language} signs as the service expects`,
    { skip: isMissing && `${program} is not installed` },
    async (t) => {
      const { stdout, stderr } = spawnSync(program, args(exampleIn(language)), { encoding: 'utf8' })
      t.equal(stdout.trim(), expected, stderr)
    },
  )
}
