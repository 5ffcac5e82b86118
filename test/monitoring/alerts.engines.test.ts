import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import t from 'tap'
import { parse } from 'yaml'

const root = (path: string) => new URL(`../../${path}`, import.meta.url)
const read = (path: string) => readFileSync(root(path), 'utf8')
const skip = spawnSync('promtool', ['--version']).status === 0 ? false : 'prometheus is not installed'

interface Rule {
  alert: string
  annotations: { runbook_url: string }
}
interface Case {
  alertname: string
  exp_alerts: object[]
}

const rules: Rule[] = parse(read('deploy/prometheus/alerts.yaml')).groups.flatMap(
  ({ rules }: { rules: Rule[] }) => rules,
)

t.test('each alert fires in one case and does not in another', { skip }, async (t) => {
  const run = spawnSync('promtool', ['test', 'rules', 'alerts.test.yaml'], {
    cwd: root('deploy/prometheus/'),
    encoding: 'utf8',
  })
  t.equal(run.status, 0, run.stdout + run.stderr)
  const cases: Case[] = parse(read('deploy/prometheus/alerts.test.yaml')).tests.flatMap(
    ({ alert_rule_test }: { alert_rule_test: Case[] }) => alert_rule_test,
  )
  for (const { alert } of rules) {
    const own = cases.filter(({ alertname }) => alertname === alert)
    t.ok(
      own.some(({ exp_alerts }) => exp_alerts.length > 0),
      `${alert} fires`,
    )
    t.ok(
      own.some(({ exp_alerts }) => exp_alerts.length === 0),
      `${alert} does not fire`,
    )
  }
})

t.test('each alert has a section in the runbook', async (t) => {
  const headings = [...read('docs/operations.md').matchAll(/^### (\w+)$/gm)].map(([, heading]) => heading)
  for (const { alert, annotations } of rules) {
    t.equal(annotations.runbook_url, `docs/operations.md#${alert.toLowerCase()}`)
    t.ok(headings.includes(alert), alert)
  }
})
