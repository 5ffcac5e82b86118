// Draws the dashboard as SVG, without Grafana, from the data of a Prometheus server:
// node test/monitoring/dashboard.ts http://localhost:9090 3600 > dashboard.svg
import { readFile } from 'node:fs/promises'

/** A line of a panel. Its points are pairs of a Unix time in seconds and a value. */
export interface Line {
  name: string
  points: [number, number][]
}

export interface Panel {
  title: string
  unit: string
  /** The lines by query. */
  queries: { expr: string; lines: Line[] }[]
}

interface Dashboard {
  panels: {
    title: string
    fieldConfig: { defaults: { unit: string } }
    targets: { expr: string; legendFormat: string }[]
  }[]
}

/**
 * Runs the queries of the dashboard.
 *
 * @param url of a Prometheus server
 * @param seconds the time until now
 * @param rateInterval what Grafana would put for `$__rate_interval`
 * @throws {Error} if a query is wrong
 */
export async function readPanels(url: string, seconds: number, rateInterval: string): Promise<Panel[]> {
  const dashboard = new URL('../../deploy/grafana/hasty.json', import.meta.url)
  const { panels } = JSON.parse(await readFile(dashboard, 'utf8')) as Dashboard
  const end = Date.now() / 1000
  const read = async ({ expr, legendFormat }: { expr: string; legendFormat: string }) => {
    const query = new URL('/api/v1/query_range', url)
    query.search = String(
      new URLSearchParams({
        query: expr.replaceAll('$__rate_interval', rateInterval),
        start: String(end - seconds),
        end: String(end),
        step: String(Math.max(1, seconds / 120)),
      }),
    )
    const answer = (await (await fetch(query)).json()) as {
      error?: string
      data: { result: { metric: Record<string, string>; values: [number, string][] }[] }
    }
    if (answer.error) throw new Error(`${expr}: ${answer.error}`)
    const lines = answer.data.result.map(({ metric, values }) => ({
      name: legendFormat.replace(/\{\{(\w+)\}\}/g, (_, label) => metric[label] ?? '').trim(),
      points: values
        .map(([time, value]) => [time, Number(value)] as [number, number])
        .filter(([, value]) => Number.isFinite(value)),
    }))
    return { expr, lines: lines.filter(({ points }) => points.length > 0) }
  }
  return Promise.all(
    panels.map(async ({ title, fieldConfig, targets }) => ({
      title,
      unit: fieldConfig.defaults.unit,
      queries: await Promise.all(targets.map(read)),
    })),
  )
}

const [WIDTH, HEIGHT, COLUMNS] = [400, 230, 3]
const PLOT = { left: 66, top: 32, right: 12, height: 110 }
const COLOURS = ['#1f77b4', '#d62728', '#2ca02c', '#9467bd', '#ff7f0e', '#17becf', '#8c564b', '#7f7f7f']
const MOST_NAMES = 8

/** Draws panels in three columns. */
export function drawPanels(panels: readonly Panel[]): string {
  const height = Math.ceil(panels.length / COLUMNS) * HEIGHT
  const drawn = panels.map((panel, index) => {
    const [x, y] = [(index % COLUMNS) * WIDTH, Math.floor(index / COLUMNS) * HEIGHT]
    return `<g transform="translate(${x} ${y})">${drawPanel(panel)}</g>`
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH * COLUMNS} ${height}" font-family="sans-serif" font-size="11">
<title>The dashboard of Hasty</title>
<rect width="100%" height="100%" fill="#f4f5f5"/>
${drawn.join('\n')}
</svg>
`
}

function drawPanel({ title, unit, queries }: Panel): string {
  // The largest first: the names of the others have no room.
  const lines = queries.flatMap(({ lines }) => lines).sort((a, b) => peakOf(b) - peakOf(a))
  const times = lines.flatMap(({ points }) => points.map(([time]) => time))
  const [from, to] = [Math.min(...times), Math.max(...times)]
  const peak = Math.max(...lines.map(peakOf), 0) || 1
  const width = WIDTH - PLOT.left - PLOT.right
  const toX = (time: number) => PLOT.left + ((time - from) / (to - from || 1)) * width
  const toY = (value: number) => PLOT.top + PLOT.height * (1 - value / peak)
  const grid = [0, 0.5, 1].map((share) => {
    const y = toY(share * peak)
    return `<path d="M${PLOT.left} ${y}h${width}" stroke="#e0e0e0"/><text x="${PLOT.left - 6}" y="${y + 4}" text-anchor="end" fill="#555">${format(share * peak, unit)}</text>`
  })
  const paths = lines.map(({ points }, index) => {
    const path = points.map(([time, value]) => `${toX(time).toFixed(1)} ${toY(value).toFixed(1)}`).join('L')
    return `<path d="M${path}" fill="none" stroke="${COLOURS[index % COLOURS.length]}" stroke-width="1.5"/>`
  })
  const names = lines.slice(0, MOST_NAMES).map(({ name }, index) => {
    const [x, y] = [12 + (index % 2) * 190, PLOT.top + PLOT.height + 22 + Math.floor(index / 2) * 15]
    return `<rect x="${x}" y="${y - 8}" width="8" height="8" fill="${COLOURS[index % COLOURS.length]}"/><text x="${x + 12}" y="${y}" fill="#333">${escapeText(name.slice(0, 30))}</text>`
  })
  return [
    `<rect x="4" y="4" width="${WIDTH - 8}" height="${HEIGHT - 8}" rx="3" fill="#fff" stroke="#ddd"/>`,
    `<text x="12" y="20" font-size="13" font-weight="bold" fill="#222">${escapeText(title)}</text>`,
    ...grid,
    ...paths.reverse(),
    ...names,
  ].join('')
}

const peakOf = ({ points }: Line) => Math.max(...points.map(([, value]) => value))

const escapeText = (text: string) => text.replace(/[<>&]/g, (each) => `&#${each.charCodeAt(0)};`)

/** A value with its unit, as short as an axis needs it. */
function format(value: number, unit: string): string {
  if (unit === 'percentunit') return `${Number((value * 100).toPrecision(3))} %`
  if (unit === 's')
    return value < 1 ? `${Number((value * 1000).toPrecision(3))} ms` : `${Number(value.toPrecision(3))} s`
  const [base, suffix] = unit === 'bytes' || unit === 'Bps' ? [1024, 'B'] : [1000, '']
  const step = Math.min(4, Math.max(0, Math.floor(Math.log(value || 1) / Math.log(base))))
  const prefix = ['', 'k', 'M', 'G', 'T'][step]
  const rate = unit === 'reqps' || unit === 'ops' || unit === 'Bps' ? '/s' : ''
  return `${Number((value / base ** step).toPrecision(3))} ${prefix}${suffix}${rate}`.trim()
}

if (import.meta.main) {
  const [url = 'http://localhost:9090', seconds = '3600'] = process.argv.slice(2)
  const panels = await readPanels(url, Number(seconds), '1m')
  process.stdout.write(drawPanels(panels))
}
