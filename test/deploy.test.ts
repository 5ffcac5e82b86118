import { spawnSync } from 'node:child_process'
import { existsSync, globSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { parse } from 'yaml'
import { readConfig } from '../config.ts'
import { Environment } from '../schemas/environment.ts'
import { decoderLimits } from '../services/analysis/limits.ts'
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
import { inTier } from './helpers/tiers.ts'

const root = (path: string) => new URL(`../${path}`, import.meta.url)
const read = (path: string) => readFileSync(root(path), 'utf8')

/** A variable of a container. */
interface Variable {
  name: string
  value?: string
  valueFrom?: { secretKeyRef: { name: string; key: string } }
}

/** A service of compose.yaml. */
interface Service {
  build?: { context: string; args: Record<string, string> }
  image?: string
  read_only?: boolean
  cap_drop?: string[]
  security_opt?: string[]
  networks: string[]
  ports?: string[]
  command?: string[]
  environment?: Record<string, string>
  healthcheck?: { disable?: boolean }
  depends_on?: Record<string, { condition: string }>
  restart?: string
  volumes?: string[]
}

// The AWS SDK reads AWS_*. Everything else must be a variable of Hasty.
const isKnown = (name: string) => name.startsWith('AWS_') || name in Environment.properties

/** Checks an environment like a process at its start. */
function checkEnvironment(t: Test, env: Record<string, string>, at: string) {
  for (const name of Object.keys(env)) t.ok(isKnown(name), `${at}: ${name} is a variable`)
  t.doesNotThrow(() => readConfig(env), `${at}: the values are valid`)
}

/** Bytes of a quantity of Kubernetes, such as 512Mi. */
const bytesOf = (quantity: string) =>
  Number.parseInt(quantity, 10) * (quantity.endsWith('Gi') ? 2 ** 30 : 2 ** 20)

const entryExists = (t: Test, [node, entry]: string[], at: string) =>
  t.ok(node === 'node' && entry && existsSync(root(entry)), `${at}: ${entry} is an entry`)

inTier.engines('Kubernetes', { skip: withoutKustomize() }, async (t) => {
  // In the repository, where the compiler finds the packages.
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

  await t.test('the manifests follow the schemas of Kubernetes', async (t) => {
    // The package has no schemas of the Prometheus Operator and of the Gateway API.
    const known = manifests.filter(({ apiVersion }) => !apiVersion.startsWith('monitoring.coreos.com/'))
    t.strictSame(await faultsOf([...known, secret], write), [])
    t.strictSame(await faultsOf(kustomize('deploy/kubernetes/base'), write), [])
  })

  await t.test('the check finds wrong, missing and unknown fields', async (t) => {
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

  await t.test('contains every part', async (t) => {
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
        'NetworkPolicy hasty-egress',
        'NetworkPolicy hasty-metrics-ingress',
        'PodDisruptionBudget hasty-api',
        'PrometheusRule hasty',
        'Service hasty-api',
        'Service hasty-worker',
        'ServiceAccount hasty',
        'ServiceMonitor hasty',
      ],
    )
  })

  await t.test('every pod follows the restricted Pod Security Standard', async (t) => {
    // https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
    for (const manifest of pods) {
      const { name } = manifest.metadata
      const pod = podOf(manifest)
      t.equal(pod.automountServiceAccountToken, false, `${name} has no token`)
      t.equal(pod.securityContext.runAsNonRoot, true, `${name} is not root`)
      // The kubelet can't know that a user name is not root.
      t.equal(pod.securityContext.runAsUser, 1000, `${name} runs as the image's user, by number`)
      t.equal(pod.securityContext.seccompProfile.type, 'RuntimeDefault')
      for (const volume of pod.volumes)
        t.ok(volume.emptyDir?.sizeLimit, `${name} has only volumes with a size limit`)
      for (const { securityContext, resources } of pod.containers) {
        t.equal(securityContext.allowPrivilegeEscalation, false)
        t.equal(securityContext.readOnlyRootFilesystem, true)
        t.strictSame(securityContext.capabilities, { drop: ['ALL'] })
        for (const resource of ['cpu', 'memory']) {
          t.ok(
            resources.requests[resource] && resources.limits[resource],
            `${name} has a request and a limit of ${resource}`,
          )
        }
      }
    }
  })

  await t.test('secrets are references, and all settings are valid', async (t) => {
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
    for (const manifest of pods) {
      const [{ env }] = podOf(manifest).containers
      const hasToken = env.some(({ name }: Variable) => name === 'ACCESS_TOKEN')
      t.equal(hasToken, manifest.metadata.name === 'hasty-api', 'only the API has the access token')
    }
  })

  await t.test('the grace period is longer than a process takes to stop', async (t) => {
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

  await t.test('the temporary folder of the API has space for all unfinished uploads', async (t) => {
    const { containers, volumes } = podOf(find('Deployment', 'hasty-api'))
    const [{ emptyDir }] = volumes
    t.ok(bytesOf(emptyDir.sizeLimit) > readConfig({}).stagedLimit)
    t.ok(bytesOf(containers[0].resources.limits['ephemeral-storage']) > bytesOf(emptyDir.sizeLimit))
  })

  await t.test('a worker has memory for its decoders', async (t) => {
    const [{ resources }] = podOf(find('Deployment', 'hasty-worker')).containers
    const cores = Number(resources.limits.cpu)
    const limits = decoderLimits(bytesOf(resources.limits.memory), cores)
    t.strictSame(limits, { concurrency: cores, memory: 2 ** 30 }, 'one decoder for each core, with 1 GiB')
    const compose = parse(read('compose.yaml'), { merge: true })
    t.equal(compose.services.worker.mem_limit, '2g')
    t.equal(bytesOf(resources.limits.memory), 2 ** 31)
  })

  await t.test('probes use existing routes and ports', async (t) => {
    const app = await build(t)
    const [api] = podOf(find('Deployment', 'hasty-api')).containers
    const [worker] = podOf(find('Deployment', 'hasty-worker')).containers
    for (const probe of ['startupProbe', 'livenessProbe'])
      t.strictSame(worker[probe].httpGet, api[probe].httpGet, 'a worker has the same probes')
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

  await t.test(
    'the queue is optional, a changed Secret starts a rollout, and times have a zone',
    async (t) => {
      for (const manifest of pods) {
        const [{ env }] = podOf(manifest).containers
        const queue = env.find(({ name }: Variable) => name === 'QUEUE_URL')
        t.equal(queue.valueFrom.secretKeyRef.optional, true, manifest.metadata.name)
      }
      for (const name of ['hasty-api', 'hasty-worker'])
        t.match(find('Deployment', name).metadata, {
          annotations: { 'secret.reloader.stakater.com/reload': secret.metadata.name },
        })
      t.equal(find('CronJob', 'hasty-sweep').spec.timeZone, 'Etc/UTC')
    },
  )

  await t.test('Argo CD and Flux replace the Job that migrates, after what it needs', async (t) => {
    const { annotations } = find('Job', 'hasty-migrate').metadata as unknown as {
      annotations: Record<string, string>
    }
    t.equal(annotations['argocd.argoproj.io/hook-delete-policy'], 'BeforeHookCreation')
    t.equal(annotations['kustomize.toolkit.fluxcd.io/force'], 'enabled')
    const waveOf = ({ metadata }: Manifest) =>
      Number(
        (metadata as unknown as { annotations?: Record<string, string> }).annotations?.[
          'argocd.argoproj.io/sync-wave'
        ] ?? 0,
      )
    for (const { kind, metadata } of manifests.filter((each) => waveOf(each) < -1))
      t.ok(['ConfigMap', 'ServiceAccount', 'NetworkPolicy'].includes(kind), metadata.name)
    t.ok(manifests.filter(({ kind }) => kind === 'ConfigMap').every((each) => waveOf(each) === -2))
    t.ok(waveOf(find('Job', 'hasty-migrate')) < waveOf(find('Deployment', 'hasty-api')))
  })

  await t.test('the rules of the operator are those of deploy/prometheus', async (t) => {
    t.strictSame(
      find('PrometheusRule', 'hasty').spec.groups,
      parse(read('deploy/prometheus/alerts.yaml')).groups,
    )
    const [{ port }] = find('ServiceMonitor', 'hasty').spec.endpoints
    for (const name of ['hasty-api', 'hasty-worker'])
      t.ok(
        find('Service', name).spec.ports.some((each: { name: string }) => each.name === port),
        name,
      )
  })

  await t.test('the examples use the Service of the API', async (t) => {
    const [ingress] = parseManifests(read('deploy/kubernetes/examples/ingress.yaml'))
    t.strictSame(await faultsOf([ingress!], write), [])
    const { service } = ingress!.spec.rules[0].http.paths[0].backend
    const ports = find('Service', service.name).spec.ports
    t.ok(ports.some(({ name }: { name: string }) => name === service.port.name))
    const [, route] = parseManifests(read('deploy/kubernetes/examples/gateway.yaml'))
    const [{ name, port }] = route!.spec.rules[0].backendRefs
    t.ok(find('Service', name).spec.ports.some((each: { port: number }) => each.port === port))
  })

  await t.test('every selector and autoscaler matches its pods', async (t) => {
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

  await t.test('pods may connect only to named destinations and ports', async (t) => {
    const policies = manifests.filter(({ kind }) => kind === 'NetworkPolicy')
    const rules = policies.flatMap(({ spec }) => spec.egress ?? [])
    t.ok(rules.length > 1)
    for (const { to, ports } of rules) {
      t.ok(ports?.length > 0, 'each rule names ports')
      t.ok(to?.length > 0, 'each rule names destinations')
      for (const { ipBlock, namespaceSelector } of to ?? []) {
        t.notMatch(ipBlock?.cidr ?? '', /\/0$/, 'not the whole internet')
        t.notSame(namespaceSelector, {}, 'not all namespaces')
      }
    }
  })
})

inTier.default('compose.yaml', async (t) => {
  const compose = parse(read('compose.yaml'), { merge: true })
  const services = Object.entries<Service>(compose.services)

  const missing =
    spawnSync('docker-compose', ['--version']).status === 0 ? false : 'docker-compose is not installed'
  await t.test('docker-compose can read it, and it needs an access token', { skip: missing }, async (t) => {
    const check = (env: NodeJS.ProcessEnv) =>
      spawnSync('docker-compose', ['--file', new URL(root('compose.yaml')).pathname, 'config', '--quiet'], {
        env: { ...process.env, ...env },
        encoding: 'utf8',
      })
    const { status, stderr } = check({ ACCESS_TOKEN: 'some-token' })
    t.equal(status, 0, stderr)
    t.match(check({ ACCESS_TOKEN: '' }).stderr, /set the access token of the admin/)
  })

  await t.test('all settings of the processes are valid', async (t) => {
    const own = services.filter(([, { build }]) => build)
    t.strictSame(own.map(([name]) => name).sort(), ['api', 'migrate', 'worker'])
    for (const [name, { environment, command = ['node', 'server.ts'] }] of own) {
      const hasToken = environment?.ACCESS_TOKEN !== undefined
      t.equal(hasToken, name === 'api', 'only the API has the access token')
      checkEnvironment(t, { ...environment, ...(hasToken && { ACCESS_TOKEN: 'some-token' }) }, name)
      entryExists(t, command, name)
    }
  })

  await t.test('each container that others wait for has a health check, and every file exists', async (t) => {
    const hasCheck = ({ build, healthcheck }: Service) =>
      healthcheck ? !healthcheck.disable : build !== undefined // the image has a health check
    for (const [name, { depends_on = {}, volumes = [] }] of services) {
      for (const [other, { condition }] of Object.entries(depends_on)) {
        if (condition === 'service_healthy')
          t.ok(hasCheck(compose.services[other]), `${name} waits for ${other}`)
        else t.equal(compose.services[other].restart, 'no', `${name} waits for the end of ${other}`)
      }
      for (const volume of volumes) {
        const [from = ''] = volume.split(':')
        if (from === '/tmp') continue // an anonymous volume
        t.ok(from.startsWith('./') ? existsSync(root(from)) : from in compose.volumes, `${name}: ${volume}`)
      }
    }
  })

  await t.test(
    'every container has a read-only file system, no capabilities and a network of its own kind',
    async (t) => {
      for (const [name, service] of services) {
        t.equal(service.read_only, true, name)
        t.strictSame(service.cap_drop, ['ALL'], name)
        t.strictSame(service.security_opt, ['no-new-privileges:true'], name)
        const isOutside = service.networks.some((network) => !compose.networks[network]?.internal)
        t.equal(isOutside, name === 'nginx', `${name}: only nginx has a connection to the outside`)
        t.equal(service.ports !== undefined, name === 'nginx', `${name}: only nginx has a public port`)
      }
      const reaches = (a: Service, b: Service) => a.networks.some((network) => b.networks.includes(network))
      const { nginx, database, worker, s3 } = compose.services
      for (const other of [database, worker, s3]) t.notOk(reaches(nginx, other), 'nginx reaches only the API')
    },
  )

  await t.test('every image is pinned by digest, and a variable selects another one', async (t) => {
    for (const [name, { image, build }] of services)
      t.match(
        image ?? build?.args.NODE_IMAGE,
        /^\$\{[A-Z]+_IMAGE:-[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}\}$/,
        name,
      )
  })
})

inTier.default('Dockerfile', async (t) => {
  const dockerfile = read('Dockerfile')
  const folders = globSync('*/**/*.ts', {
    cwd: root('.'),
    exclude: (name) =>
      ['node_modules', 'test', 'bench', 'build'].includes(String(name)) || String(name).startsWith('.'),
  }).map((path) => path.split('/')[0]!)

  await t.test('the image contains every folder of the program', async (t) => {
    const ignored = read('.dockerignore')
    for (const folder of new Set([...folders, 'migrations'])) {
      t.match(dockerfile, `COPY ${folder} ./${folder}\n`)
      t.match(ignored, `!${folder}\n`)
    }
  })

  await t.test('it does not run as root, and its base image is that of compose.yaml', async (t) => {
    t.match(dockerfile, /^USER node$/m)
    const [, image] = /^ARG NODE_IMAGE=(\S+)$/m.exec(dockerfile) ?? []
    t.match(read('compose.yaml'), `NODE_IMAGE: \${NODE_IMAGE:-${image}}`)
    for (const [, image] of dockerfile.matchAll(/^FROM (\S+)/gm)) t.match(image, /^\$\{NODE_IMAGE\}$/)
  })
})
