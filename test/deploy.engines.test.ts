import { spawnSync } from 'node:child_process'
import { existsSync, globSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parseAllDocuments } from 'yaml'
import { newFolder } from './helpers/folder.ts'
import { kustomize, withoutKustomize } from './helpers/kubernetes.ts'

// .ci/run installs it: a program from PyPI that contains the schemas that kubeconform downloads.
const PROGRAM = ['build/python/bin/kubernetes-validate'].find(existsSync) ?? 'kubernetes-validate'
const isMissing = spawnSync(PROGRAM, ['--version']).status !== 0
const skip = isMissing ? 'kubernetes-validate is not installed' : withoutKustomize()

// They are no part of Kubernetes. test/deploy.test.ts checks them with the schemas of kubernetes-models.
const EXTENSIONS = /kind (PrometheusRule|ServiceMonitor|Gateway|HTTPRoute) /

t.test('the manifests match the strict JSON schemas of Kubernetes', { skip }, async (t) => {
  const folder = newFolder(t)
  const validate = (manifests: object[]) => {
    const file = join(folder, 'manifests.yaml')
    writeFileSync(file, manifests.map((manifest) => JSON.stringify(manifest)).join('\n---\n'))
    const { status, stdout, stderr } = spawnSync(PROGRAM, ['--strict', '--quiet', file], { encoding: 'utf8' })
    const lines = (stdout + stderr).split('\n').filter((line) => line && !EXTENSIONS.test(line))
    return { status, lines }
  }
  const production = kustomize('deploy/kubernetes/overlays/production')
  const others = globSync('deploy/kubernetes/{examples/*,*.example}.yaml').flatMap((path) =>
    parseAllDocuments(readFileSync(path, 'utf8')).map((document) => document.toJS()),
  )
  t.ok(others.length >= 3)
  for (const manifests of [production, kustomize('deploy/kubernetes/base'), others])
    t.same(validate(manifests), { status: 0, lines: [] })

  const api = production.find(({ kind }) => kind === 'Deployment')!
  for (const spec of [{ replicaz: 2 }, { replicas: 'two' }, { template: undefined }])
    t.not(validate([{ ...api, spec: { ...api.spec, ...spec } }]).status, 0, JSON.stringify(spec))
})
