import { useState } from 'preact/hooks'
import { api, type Stats } from './api.ts'
import { bytes, day, Loading, number, Problem, say, texts, useLoaded } from './common.tsx'

const DAYS = 30
const DAY_MS = 86_400_000
const POLL_MS = 30_000
const WIDTH = 600
const HEIGHT = 140
const BAR = WIDTH / DAYS

interface Day {
  date: string
  uploads: number
  bytes: number
}

/** The uploads of the last 30 days, and the most used formats and cameras. Each plot can be shown as a table. */
export function StatisticsView() {
  const { data, error, reload } = useLoaded(() => api.stats(), 'stats', POLL_MS)
  if (error && !data) return <Problem error={error} retry={reload} />
  if (!data) return <Loading />
  const days = lastDays(data)
  const { statistics } = texts
  return (
    <div class="stack wide">
      <h1>{statistics.title}</h1>
      <div class="halves">
        <Plot title={statistics.uploads} days={days} value={(each) => each.uploads} show={number} />
        <Plot title={statistics.bytes} days={days} value={(each) => each.bytes} show={bytes} />
        <Bars
          title={statistics.formats}
          rows={data.topFormats.map((each) => ({ ...each, name: each.format }))}
        />
        <Bars
          title={statistics.cameras}
          rows={data.top10CameraModels.map((each) => ({
            ...each,
            name: each.model === 'unknown' ? texts.unknown : each.model,
          }))}
        />
      </div>
    </div>
  )
}

/** The API omits days without uploads. */
function lastDays({ uploadFrequency30Days }: Stats): Day[] {
  const byDate = new Map(uploadFrequency30Days.map((each) => [each.date.slice(0, 10), each]))
  return Array.from({ length: DAYS }, (_, n) => {
    const date = new Date(Date.now() - (DAYS - 1 - n) * DAY_MS).toISOString().slice(0, 10)
    return { date, uploads: 0, ...byDate.get(date), bytes: byDate.get(date)?.bytes ?? 0 }
  }).map((each) => ({ ...each, date: each.date.slice(0, 10) }))
}

function Plot({
  title,
  days,
  value,
  show,
}: {
  title: string
  days: Day[]
  value: (day: Day) => number
  show: (value: number) => string
}) {
  const [active, setActive] = useState<number>()
  const most = Math.max(1, ...days.map(value))
  const sum = days.reduce((sum, each) => sum + value(each), 0)
  const total = say(texts.statistics.total, { count: show(sum) })
  const hovered = active === undefined ? undefined : days[active]
  return (
    <figure class="card stack">
      <div>
        <h2 class="soft small">{title}</h2>
        <p class="figure number">
          {show(hovered ? value(hovered) : sum)}
          <span class="soft small"> {hovered ? day(hovered.date) : texts.statistics.last}</span>
        </p>
      </div>
      <svg
        class="plot"
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={`${title}: ${total}`}
        onPointerMove={(event) => {
          const { left, width } = event.currentTarget.getBoundingClientRect()
          setActive(Math.max(0, Math.min(DAYS - 1, Math.floor(((event.clientX - left) / width) * DAYS))))
        }}
        onPointerLeave={() => setActive(undefined)}
      >
        {days.map((each, n) => {
          const height = value(each) > 0 ? Math.max(3, (value(each) / most) * HEIGHT) : 0
          return (
            <g key={each.date} class={n === active ? 'active' : ''}>
              <rect class="ground" x={n * BAR} width={BAR} height={HEIGHT} />
              <rect x={n * BAR + 3} y={HEIGHT - height} width={BAR - 6} height={height} rx="2" />
            </g>
          )
        })}
      </svg>
      <div class="bar soft small" aria-hidden="true" dir="ltr">
        <span>{day(days[0]!.date)}</span>
        <span>{day(days.at(-1)!.date)}</span>
      </div>
      <details>
        <summary>{texts.statistics.table}</summary>
        {/* biome-ignore lint/a11y:  a long table is scrolled with the keyboard */}
        <div class="scroll" tabIndex={0} role="group" aria-label={title}>
          <table>
            <thead>
              <tr>
                <th scope="col">{texts.statistics.day}</th>
                <th scope="col">{title}</th>
              </tr>
            </thead>
            <tbody>
              {days.toReversed().map((each) => (
                <tr key={each.date}>
                  <th scope="row">{day(each.date)}</th>
                  <td>{show(value(each))}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </details>
    </figure>
  )
}

function Bars({ title, rows }: { title: string; rows: { name: string; uploads: number; bytes: number }[] }) {
  const most = Math.max(1, ...rows.map(({ uploads }) => uploads))
  return (
    <section class="card stack">
      <h2>{title}</h2>
      {rows.length === 0 && <p class="soft">{texts.statistics.none}</p>}
      {rows.length > 0 && (
        <table class="bars">
          <thead class="spoken">
            <tr>
              <th scope="col">{title}</th>
              <th scope="col">{texts.statistics.count}</th>
              <th scope="col">{texts.statistics.data}</th>
            </tr>
          </thead>
          <tbody>
            {rows.map(({ name, uploads, bytes: size }) => (
              <tr key={name}>
                <th scope="row">
                  <span class="meter" style={{ width: `${(uploads / most) * 100}%` }} />
                  <span dir="auto">{name}</span>
                </th>
                <td>{number(uploads)}</td>
                <td class="soft">{bytes(size)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  )
}
