import { useState } from 'preact/hooks'
import { type ApiError, api, contentUrl, type Image, type Operation } from './api.ts'
import {
  bytes,
  Confirm,
  duration,
  Icon,
  Loading,
  number,
  Problem,
  say,
  tell,
  texts,
  time,
  useLoaded,
} from './common.tsx'
import { Picture } from './picture.tsx'

const POLL_MS = 5_000
const SHOWN = 20

/** The state of the service, and the images that need attention. */
export function OperationView() {
  const { data, error, reload } = useLoaded(() => api.operation(), 'operation', POLL_MS)
  const { data: storage } = useLoaded(() => api.storage(), 'storage', 12 * POLL_MS)
  if (error && !data) return <Problem error={error} retry={reload} />
  if (!data) return <Loading />
  const { operation } = texts
  return (
    <div class="stack wide">
      <h1>{operation.title}</h1>
      {data.unreachable.length === 0 ? (
        <p class="note good">{operation.good}</p>
      ) : (
        <ul class="note bad" role="alert" lang="en">
          {data.unreachable.map((fault) => (
            <li key={fault}>{fault}</li>
          ))}
        </ul>
      )}
      <div class="cards">
        <Queue queue={data.queue} />
        <Sweep lastSweep={data.lastSweep} />
        <section class="card stack">
          <h2>{operation.versions}</h2>
          <p class="figure">{data.version}</p>
          <p class="soft small">Node {data.node}</p>
        </section>
      </div>
      <section class="card stack">
        <h2>{operation.storage}</h2>
        {!storage?.stores.length && <p class="soft">{operation.notMeasured}</p>}
        {storage && storage.stores.length > 0 && (
          <div class="scroll">
            <table>
              <thead>
                <tr>
                  <th scope="col">{operation.tier}</th>
                  <th scope="col">{operation.objects}</th>
                  <th scope="col">{operation.bytes}</th>
                  <th scope="col">{operation.trash}</th>
                </tr>
              </thead>
              <tbody>
                {storage.stores.map((store) => (
                  <tr key={`${store.region} ${store.tier}`}>
                    <th scope="row">
                      {texts.image.tiers[store.tier]} {store.region}
                    </th>
                    <td>{number(store.objects)}</td>
                    <td>{bytes(store.bytes)}</td>
                    <td>{bytes(store.trashBytes)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </section>
      <Attention />
    </div>
  )
}

const Queue = ({ queue }: { queue: Operation['queue'] | undefined }) => (
  <section class="card stack">
    <h2>{texts.operation.queue}</h2>
    <p class="figure">{queue ? number(queue.waiting) : '–'}</p>
    <p class="soft small">
      {queue && say(texts.operation.waiting, { count: queue.waiting })}
      {queue?.oldestSeconds !== undefined &&
        `, ${say(texts.operation.oldest, { time: duration(queue.oldestSeconds) })}`}
    </p>
  </section>
)

function Sweep({ lastSweep }: { lastSweep: Operation['lastSweep'] | undefined }) {
  const { objects = 0, missing = 0, orphans = 0, failedSteps = 0 } = lastSweep?.summary ?? {}
  return (
    <section class="card stack">
      <h2>{texts.operation.sweep}</h2>
      <p class="figure">{lastSweep ? time(lastSweep.finishedAt) : '–'}</p>
      <p class="soft small">
        {lastSweep
          ? say(texts.operation.sweepDetail, { objects, missing, orphans, failedSteps })
          : texts.operation.noSweep}
      </p>
    </section>
  )
}

interface Group {
  title: string
  query: Record<string, string>
  analyse?: 'failed' | 'corrupt'
}

const groups: Group[] = [
  { title: texts.operation.failed, query: { status: 'failed' }, analyse: 'failed' },
  { title: texts.operation.corrupt, query: { status: 'corrupt' }, analyse: 'corrupt' },
  { title: texts.operation.damaged, query: { damaged: 'true' } },
  { title: texts.operation.missing, query: { objectFault: 'missing' } },
  { title: texts.operation.mismatch, query: { objectFault: 'mismatch' } },
]

/** The images that need attention: only the groups that have some. */
function Attention() {
  const { data, error, reload } = useLoaded(
    () => Promise.all(groups.map(({ query }) => api.images({ ...query, removed: 'false', limit: SHOWN }))),
    'attention',
    6 * POLL_MS,
  )
  if (error && !data) return <Problem error={error} retry={reload} />
  const shown = groups.flatMap((group, n) => {
    const items = data?.[n]?.items ?? []
    return items.length > 0 ? [{ ...group, items }] : []
  })
  return (
    <section class="card stack">
      <h2>{texts.operation.attention}</h2>
      {!data && <Loading />}
      {data && shown.length === 0 && <p class="soft">{texts.operation.nothing}</p>}
      {shown.map((group) => (
        <Cases key={group.title} {...group} reload={reload} />
      ))}
    </section>
  )
}

function Cases({ title, analyse, items, reload }: Group & { items: Image[]; reload: () => Promise<void> }) {
  const [fault, setFault] = useState<ApiError>()
  const [removing, setRemoving] = useState<string>()
  const again = (act: Promise<unknown>, text: string) =>
    act.then(() => {
      tell(text)
      return reload()
    }, setFault)
  return (
    <div>
      <div class="bar">
        <h3 class="soft">{title}</h3>
        {analyse && (
          <button
            type="button"
            class="button second"
            onClick={() =>
              api
                .analyseAll(analyse)
                .then(({ queued }) => tell(say(texts.operation.queued, { count: queued })), setFault)
            }
          >
            <Icon name="refresh" />
            {texts.operation.analyseAll}
          </button>
        )}
      </div>
      {fault && <Problem error={fault} />}
      <ul class="rows">
        {items.map((image) => (
          <Case
            key={image.id}
            image={image}
            onAnalyse={() => again(api.analyse(image.id), texts.image.queued)}
            onRemove={() => setRemoving(image.id)}
          />
        ))}
      </ul>
      {removing && (
        <Confirm
          title={say(texts.images.removeTitle, { count: 1 })}
          detail={texts.images.removeDetail}
          action={texts.image.remove}
          onConfirm={async () => {
            await api.removeImage(removing)
            await reload()
          }}
          onClose={() => setRemoving(undefined)}
        />
      )}
    </div>
  )
}

const Case = ({
  image,
  onAnalyse,
  onRemove,
}: {
  image: Image
  onAnalyse: () => void
  onRemove: () => void
}) => (
  <li class="row case">
    <a href={`#/images/${image.id}`} class="thumb" aria-label={`${image.format}, ${time(image.receivedAt)}`}>
      <Picture
        id={image.id}
        status={image.status}
        hasBadge={false}
        {...(image.placeholder && { placeholder: image.placeholder })}
      />
    </a>
    <span class="grow">
      <strong>
        {image.format} · {bytes(image.size)}
      </strong>
      <span class="soft small" lang="en">
        {image.failure ?? image.damage ?? time(image.receivedAt)}
      </span>
    </span>
    <span class="actions">
      <button type="button" class="button plain" onClick={onAnalyse} aria-label={texts.image.analyse}>
        <Icon name="refresh" />
      </button>
      <a class="button plain" href={contentUrl(image.id)} download="" aria-label={texts.image.download}>
        <Icon name="download" />
      </a>
      <button type="button" class="button plain" onClick={onRemove} aria-label={texts.image.remove}>
        <Icon name="trash" />
      </button>
    </span>
  </li>
)
