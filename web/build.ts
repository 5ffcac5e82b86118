import {
  existsSync,
  globSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'
import type { Plugin } from 'esbuild'
import { landPath } from './land.ts'
import type { Manifest } from './shared/manifest.ts'

// Builds the pages into web/dist: `node web/build.ts`. It does nothing if no source is newer than the last build, or if
// the bundler is not installed (`npm ci --omit=dev`).

const WEB = dirname(fileURLToPath(import.meta.url))
const DIST = join(WEB, 'dist')
/** The oldest browsers for which the code is translated. */
const TARGET = ['chrome105', 'firefox110', 'safari16']

if (!isFresh() && existsSync(join(WEB, '../node_modules/esbuild'))) await buildPages()

function isFresh() {
  const manifest = join(DIST, 'manifest.json')
  if (!existsSync(manifest)) return false
  const built = statSync(manifest).mtimeMs
  const sources = globSync('**/*.{ts,tsx,css,svg,json}', { cwd: WEB, exclude: (name) => name === 'dist' })
  return [...sources, '../package-lock.json'].every((path) => statSync(join(WEB, path)).mtimeMs < built)
}

/** Makes `virtual:land`, the outline of the console's map. */
function landPlugin(): Plugin {
  return {
    name: 'land',
    setup(build) {
      build.onResolve({ filter: /^virtual:land$/ }, ({ path }) => ({ path, namespace: 'land' }))
      build.onLoad({ filter: /.*/, namespace: 'land' }, () => ({ contents: landPath(), loader: 'text' }))
    },
  }
}

/** Every folder with a main.tsx is a page. Its styles are the CSS files that it imports. */
async function buildPages() {
  const { build } = await import('esbuild')
  const scripts = globSync('*/main.tsx', { cwd: WEB }).map((path) => ({
    in: join(WEB, path),
    out: dirname(path),
  }))
  const { metafile, outputFiles } = await build({
    entryPoints: [
      ...scripts,
      { in: join(WEB, 'shared/style.css'), out: 'shared' },
      { in: join(WEB, 'shared/icon.svg'), out: 'icon' },
    ],
    entryNames: '[name]-[hash]',
    chunkNames: 'part-[hash]',
    assetNames: '[name]-[hash]',
    bundle: true,
    splitting: true,
    format: 'esm',
    target: TARGET,
    minify: true,
    jsx: 'automatic',
    jsxImportSource: 'preact',
    plugins: [landPlugin()],
    loader: { '.svg': 'copy' },
    legalComments: 'none',
    metafile: true,
    write: false,
    outdir: DIST,
    absWorkingDir: WEB,
  })
  const manifest: Manifest = { icon: '', pages: {} }
  for (const [path, { entryPoint, cssBundle, imports }] of Object.entries(metafile.outputs)) {
    if (entryPoint === undefined) continue
    const name = basename(path)
    const page = dirname(entryPoint)
    if (entryPoint.endsWith('.svg')) manifest.icon = name
    else if (entryPoint.endsWith('.css')) manifest.pages[page] = { style: name, scripts: [] }
    else {
      const parts = imports
        .filter(({ kind }) => kind === 'import-statement')
        .map((each) => basename(each.path))
      manifest.pages[page] = { style: basename(cssBundle ?? ''), scripts: [name, ...parts] }
    }
  }
  const draft = `${DIST}.${process.pid}`
  mkdirSync(join(draft, 'assets'), { recursive: true })
  for (const { path, contents } of outputFiles) {
    const file = join(draft, 'assets', basename(path))
    writeFileSync(file, contents)
    writeFileSync(`${file}.gz`, gzipSync(contents, { level: 9 }))
    writeFileSync(
      `${file}.br`,
      brotliCompressSync(contents, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }),
    )
  }
  writeFileSync(join(draft, 'manifest.json'), JSON.stringify(manifest, null, 2))
  rmSync(DIST, { recursive: true, force: true })
  renameSync(draft, DIST)
  for (const { scripts } of Object.values(manifest.pages))
    for (const script of scripts)
      console.log(`${script}: ${readFileSync(join(DIST, 'assets', `${script}.br`)).length} B compressed`)
}
