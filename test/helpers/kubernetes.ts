import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseAllDocuments } from 'yaml'

/** An object for Kubernetes, of any kind. */
export interface Manifest {
  apiVersion: string
  kind: string
  metadata: { name: string; labels?: Record<string, string> }
  // biome-ignore lint/suspicious/noExplicitAny: its shape is what the schemas are asked about
  [field: string]: any
}

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** Why tests with kustomize can't run; false where they can. */
export function withoutKustomize() {
  const { stdout } = spawnSync('kubectl', ['version', '--client', '--output=json'], { encoding: 'utf8' })
  const [, minor] = /"gitVersion": "v1\.(\d+)/.exec(stdout ?? '') ?? []
  // Older ones have kustomize 2, which knows no folder as a resource.
  return Number(minor) >= 21 ? (false as const) : 'kubectl 1.21 or later is not installed'
}

/** Builds a kustomization, named from the repository's root. */
export function kustomize(folder: string): Manifest[] {
  const { stdout, stderr, status } = spawnSync('kubectl', ['kustomize', join(ROOT, folder)], {
    encoding: 'utf8',
  })
  if (status !== 0) throw new Error(stderr)
  if (stderr) throw new Error(`kustomize warns: ${stderr}`)
  return parseManifests(stdout)
}

export const parseManifests = (yaml: string): Manifest[] =>
  parseAllDocuments(yaml).map((document) => document.toJS())

/**
 * The faults of manifests by the JSON schemas of the package kubernetes-models. The schemas find wrong and missing values,
 * but accept unknown fields. The package's types, which have the same source, find these.
 *
 * @param folder a folder in the repository for a file that is given to tsc
 */
export async function faultsOf(manifests: Manifest[], write: (code: string) => string): Promise<string[]> {
  const faults: string[] = []
  const lines: string[] = []
  for (const manifest of manifests) {
    const { apiVersion, kind, metadata } = manifest
    const models = await import(`kubernetes-models/${apiVersion}`).catch(() => ({}))
    if (!models[kind]) {
      faults.push(`${kind} ${metadata?.name}: there is no such kind in ${apiVersion}`)
      continue
    }
    try {
      new models[kind](manifest).validate()
    } catch (error) {
      faults.push(`${kind} ${metadata?.name}: ${(error as Error).message}`)
    }
    const type = `import('kubernetes-models/${apiVersion}').I${kind}`
    lines.push(`export const manifest${lines.length}: ${type} = ${JSON.stringify(manifest)}`)
  }
  return [...faults, ...typeFaultsOf(write(lines.join('\n')))]
}

function typeFaultsOf(file: string): string[] {
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
  const flags = ['--noEmit', '--strict', '--skipLibCheck', '--module', 'nodenext', '--ignoreConfig']
  // tap puts itself into every Node that a test starts, by this variable, and tsc does not stand that.
  const command = ['-u', 'NODE_OPTIONS', process.execPath, tsc, ...flags, file]
  const { stdout, stderr, status } = spawnSync('env', command, { encoding: 'utf8', cwd: ROOT })
  const faults = stdout.split('\n').filter((line) => line.includes('error TS'))
  if (status !== 0 && faults.length === 0) throw new Error(stderr || stdout)
  return faults
}

/** The template of the pods that a manifest describes, where it does. */
export const templateOf = ({ spec }: Manifest) => (spec?.jobTemplate?.spec ?? spec)?.template

/** The pod that a manifest describes, where it does. */
export const podOf = (manifest: Manifest) => templateOf(manifest)?.spec
