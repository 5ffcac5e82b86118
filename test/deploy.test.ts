import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { parse } from 'yaml'
import { readConfig } from '../config.ts'
import { Environment } from '../schemas/environment.ts'
import { build } from './helpers/app.ts'
import {
  faultsOf,
  kustomize,
  type Manifest,
  parseManifests,
  podOf,
  templateOf,
  withoutKustomize,
} from './helpers/kubernetes.ts'

const root = (path: string) => new URL(`../${path}`, import.meta.url)
const read = (path: string) => readFileSync(root(path), 'utf8')

/** An entry of a container's `env`. */
interface Variable {
  name: string
  value?: string
  valueFrom?: { secretKeyRef: { name: string; key: string } }
}

/** A service of compose.yaml. */
interface Service {
  build?: string
  command?: string[]
  environment?: Record<string, string>
  healthcheck?: { disable?: boolean }
  depends_on?: Record<string, { condition: string }>
  restart?: string
  volumes?: string[]
}

// What the AWS SDK reads; all else has to be a variable of Hasty's.
const isKnown = (name: string) => name.startsWith('AWS_') || name in Environment.properties

/** Checks an environment as a process does at its start. */
function checkEnvironment(t: Test, env: Record<string, string>, at: string) {
  for (const name of Object.keys(env)) t.ok(isKnown(name), `${at}: ${name} is a variable`)
  t.doesNotThrow(() => readConfig(env), `${at}: the values can be used`)
}

const entryExists = (t: Test, [node, entry]: string[], at: string) =>
  t.ok(node === 'node' && entry && existsSync(root(entry)), `${at}: ${entry} is an entry`)

t.test('Kubernetes', { skip: withoutKustomize() }, async (t) => {
  const dir = t.testdir()
  const write = (code: string) => {
    const path = join(dir, 'manifests.mts')
    writeFileSync(path, code)
    return path
  }
  const manifests = kustomize('deploy/kubernetes/overlays/production')
  const secret = parseManifests(read('deploy/kubernetes/secret.example.yaml'))[0]!
  const find = (kind: string, name: string) =>
    manifests.find((manifest) => manifest.kind === kind && manifest.metadata.name === name)!
  const pods = manifests.filter(podOf)

  await t.test('the manifests are what the schemas say', async (t) => {
    t.strictSame(await faultsOf([...manifests, secret], write), [])
    t.strictSame(await faultsOf(kustomize('deploy/kubernetes/base'), write), [])
  })

  await t.test('a manifest that is not would be found', async (t) => {
    const broken = async (damage: (api: Manifest) => void) => {
      const api = structuredClone(find('Deployment', 'hasty-api'))
      damage(api)
      return (await faultsOf([api], write)).length
    }
    t.equal(await broken(() => {}), 0)
    t.not(await broken((api) => delete api.spec.selector), 0)
    t.not(
      await broken((api) => {
        api.spec.template.spec.containers[0].resources.limits.memory = '1 GB'
      }),
      0,
    )
    t.not(
      await broken((api) => {
        api.spec.template.spec.containers[0].securityContext.readOnlyRootFileSystem = true
      }),
      0,
    )
    t.not(
      await broken((api) => {
        api.apiVersion = 'apps/v2'
      }),
      0,
    )
  })

  await t.test('every part is there', async (t) => {
    t.strictSame(
      manifests.map(({ kind, metadata }) => `${kind} ${metadata.name.replace(/-\w{10}$/, '-#')}`).sort(),
      [
        'ConfigMap hasty-#',
        'CronJob hasty-sweep',
        'Deployment hasty-api',
        'Deployment hasty-worker',
        'HorizontalPodAutoscaler hasty-api',
        'HorizontalPodAutoscaler hasty-worker',
        'Job hasty-migrate',
        'Namespace hasty',
        'NetworkPolicy hasty',
        'NetworkPolicy hasty-api-ingress',
        'PodDisruptionBudget hasty-api',
        'Service hasty-api',
        'ServiceAccount hasty',
      ],
    )
  })

  await t.test('no pod may do more than the restricted Pod Security Standard lets it', async (t) => {
    // https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
    for (const manifest of pods) {
      const { name } = manifest.metadata
      const pod = podOf(manifest)
      t.equal(pod.automountServiceAccountToken, false, `${name} has no token`)
      t.equal(pod.securityContext.runAsNonRoot, true, `${name} is not root`)
      // The image's user is a name, of which the kubelet can't tell that it is not root.
      t.equal(pod.securityContext.runAsUser, 1000, `${name} runs as the image's user, by number`)
      t.equal(pod.securityContext.seccompProfile.type, 'RuntimeDefault')
      for (const volume of pod.volumes)
        t.ok(volume.emptyDir?.sizeLimit, `${name} has no volume but a bounded one`)
      for (const { securityContext, resources } of pod.containers) {
        t.equal(securityContext.allowPrivilegeEscalation, false)
        t.equal(securityContext.readOnlyRootFilesystem, true)
        t.strictSame(securityContext.capabilities, { drop: ['ALL'] })
        for (const what of ['cpu', 'memory']) {
          t.ok(
            resources.requests[what] && resources.limits[what],
            `${name} asks for ${what}, and has a limit`,
          )
        }
      }
    }
  })

  await t.test('secrets come by reference, and settings are ones that Hasty knows', async (t) => {
    t.notOk(manifests.some(({ kind }) => kind === 'Secret'))
    for (const manifest of pods) {
      const at = manifest.metadata.name
      const [container] = podOf(manifest).containers
      entryExists(t, container.command, at)
      const settings = container.envFrom.map(
        (from: { configMapRef: { name: string } }) => find('ConfigMap', from.configMapRef.name).data,
      )
      const env = container.env.map(({ name, value, valueFrom }: Variable) => {
        const secretKeyRef = valueFrom?.secretKeyRef
        if (!secretKeyRef) return [name, value]
        t.equal(secretKeyRef.name, secret.metadata.name)
        t.ok(secretKeyRef.key in secret.stringData, `${secretKeyRef.key} is in the example`)
        return [name, secret.stringData[secretKeyRef.key]]
      })
      checkEnvironment(t, Object.assign({}, ...settings, Object.fromEntries(env)), at)
    }
    const [api] = podOf(find('Deployment', 'hasty-api')).containers
    const { value } = api.env.find(({ name }: { name: string }) => name === 'WORKER_PROCESSES')
    t.equal(value, '0', 'the API starts no workers')
  })

  await t.test('a stop is given more time than the process takes for it', async (t) => {
    const grace =
      Number(/SHUTDOWN_TIMEOUT_MS = ([\d_]+)/.exec(read('process/run.ts'))![1]!.replace('_', '')) / 1000
    for (const [kind, name] of [
      ['Deployment', 'hasty-api'],
      ['Deployment', 'hasty-worker'],
      ['CronJob', 'hasty-sweep'],
    ] as const) {
      const pod = podOf(find(kind, name))
      const [, pause = '0'] = pod.containers[0].lifecycle?.preStop.exec.command ?? []
      t.ok(pod.terminationGracePeriodSeconds > grace + Number(pause), name)
    }
    t.match(podOf(find('Deployment', 'hasty-api')).containers[0].lifecycle.preStop.exec.command, ['sleep'])
  })

  await t.test('probes ask for what is there', async (t) => {
    const app = await build(t)
    const [api] = podOf(find('Deployment', 'hasty-api')).containers
    for (const probe of ['startupProbe', 'livenessProbe', 'readinessProbe']) {
      const { path, port } = api[probe].httpGet
      t.ok(app.hasRoute({ method: 'GET', url: path }), `${probe}: ${path}`)
      t.ok(
        api.ports.some(({ name }: { name: string }) => name === port),
        `${probe}: port ${port}`,
      )
    }
    const { periodSeconds, failureThreshold } = api.startupProbe
    t.ok(periodSeconds * failureThreshold > 180, 'a start may wait for a migration')
  })

  await t.test('what selects or scales pods finds them', async (t) => {
    const labelsOf = (manifest: Manifest) => templateOf(manifest).metadata.labels
    const selects = (selector: Record<string, string>) =>
      pods.filter((pod) => Object.entries(selector).every(([label, value]) => labelsOf(pod)[label] === value))
    for (const manifest of manifests) {
      const { kind, spec } = manifest
      const at = `${kind} ${manifest.metadata.name}`
      if (kind === 'Deployment' || kind === 'PodDisruptionBudget')
        t.equal(selects(spec.selector.matchLabels).length, 1, at)
      if (kind === 'Service') t.equal(selects(spec.selector).length, 1, at)
      if (kind === 'HorizontalPodAutoscaler') {
        t.ok(find(spec.scaleTargetRef.kind, spec.scaleTargetRef.name), at)
        t.notOk(
          'replicas' in find(spec.scaleTargetRef.kind, spec.scaleTargetRef.name).spec,
          `${at} alone scales`,
        )
      }
      for (const { labelSelector } of podOf(manifest)?.topologySpreadConstraints ?? [])
        t.strictSame(selects(labelSelector.matchLabels), [manifest], `${at} is spread`)
    }
    t.strictSame(selects(find('NetworkPolicy', 'hasty').spec.podSelector.matchLabels), pods)
  })
})

t.test('compose.yaml', async (t) => {
  const compose = parse(read('compose.yaml'), { merge: true })
  const services = Object.entries<Service>(compose.services)

  const missing =
    spawnSync('docker-compose', ['--version']).status === 0 ? false : 'docker-compose is not installed'
  await t.test('docker-compose can read it', { skip: missing }, async (t) => {
    const check = (env: NodeJS.ProcessEnv) =>
      spawnSync('docker-compose', ['--file', new URL(root('compose.yaml')).pathname, 'config', '--quiet'], {
        env: { ...process.env, ...env },
        encoding: 'utf8',
      })
    const { status, stderr } = check({ ACCESS_TOKEN: 'some-token' })
    t.equal(status, 0, stderr)
    t.match(check({ ACCESS_TOKEN: '' }).stderr, /set the access token of the admin/)
  })

  await t.test('its processes start with settings that Hasty knows', async (t) => {
    const own = services.filter(([, { build }]) => build)
    t.strictSame(own.map(([name]) => name).sort(), ['api', 'migrate', 'worker'])
    for (const [name, { environment, command = ['node', 'server.ts'] }] of own) {
      checkEnvironment(t, { ...environment, ACCESS_TOKEN: 'some-token' }, name)
      entryExists(t, command, name)
    }
  })

  await t.test('what is waited for tells when it is ready, and every file is there', async (t) => {
    const hasCheck = ({ build, healthcheck }: Service) =>
      healthcheck ? !healthcheck.disable : build !== undefined // the image has one of its own
    for (const [name, { depends_on = {}, volumes = [] }] of services) {
      for (const [other, { condition }] of Object.entries(depends_on)) {
        if (condition === 'service_healthy')
          t.ok(hasCheck(compose.services[other]), `${name} waits for ${other}`)
        else t.equal(compose.services[other].restart, 'no', `${name} waits for the end of ${other}`)
      }
      for (const volume of volumes) {
        const [from = ''] = volume.split(':')
        t.ok(from.startsWith('./') ? existsSync(root(from)) : from in compose.volumes, `${name}: ${volume}`)
      }
    }
  })
})
