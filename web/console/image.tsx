import land from 'virtual:land'
import { useState } from 'preact/hooks'
import { type ApiError, api, contentUrl, type ImageWithUploads, previewUrl } from './api.ts'
import {
  bytes,
  Confirm,
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
import { Placeholder } from './picture.tsx'

/** One image: a preview with zoom, all that is known about it, its place and its uploads. */
export function ImageView({ id }: { id: string }) {
  const { data: image, error, reload } = useLoaded(() => api.image(id), id)
  const [isRemoving, setRemoving] = useState(false)
  const [fault, setFault] = useState<ApiError>()
  if (error && !image) return <Problem error={error} retry={reload} />
  if (!image) return <Loading />
  const isRemoved = image.status === 'removed' || image.status === 'rejected'
  const name = image.uploads.find((upload) => upload.name)?.name
  const analyse = () => api.analyse(id).then(() => tell(texts.image.queued), setFault)
  return (
    <div class="stack full">
      <a class="back" href="#/images">
        <Icon name="back" />
        {texts.images.title}
      </a>
      <div class="bar">
        <h1 dir="auto" class="clip">
          {name ?? image.format}
        </h1>
        {!isRemoved && (
          <div class="actions">
            <a class="button second" href={contentUrl(id)} download={name ?? ''}>
              <Icon name="download" />
              {texts.image.download}
            </a>
            <button type="button" class="button second" onClick={analyse}>
              <Icon name="refresh" />
              {texts.image.analyse}
            </button>
            <button type="button" class="button plain" onClick={() => setRemoving(true)}>
              <Icon name="trash" />
              {texts.image.remove}
            </button>
          </div>
        )}
      </div>
      {fault && <Problem error={fault} />}
      <div class="detail">
        <Preview image={image} />
        <div class="stack">
          <section class="card stack">
            <h2>{texts.image.details}</h2>
            <Facts image={image} />
          </section>
          {image.latitude !== undefined && image.longitude !== undefined && (
            <section class="card stack">
              <h2>{texts.image.place}</h2>
              <WorldMap latitude={image.latitude} longitude={image.longitude} />
            </section>
          )}
          <section class="card stack">
            <h2>{texts.image.uploads}</h2>
            <ul class="stack">
              {image.uploads.map((upload) => (
                <li key={`${upload.link.id} ${upload.receivedAt}`}>
                  <strong dir="auto">{upload.name ?? texts.link.noName}</strong>
                  <p class="soft small">
                    {time(upload.receivedAt)}
                    {upload.sender && (
                      <span dir="auto"> · {say(texts.link.from, { name: upload.sender })}</span>
                    )}
                    {upload.duplicate && ` · ${texts.link.duplicate}`}
                    {' · '}
                    <a href={`#/links/${upload.link.id}`} dir="auto">
                      {upload.link.label ?? texts.links.untitled}
                    </a>
                  </p>
                  {upload.message && (
                    <p class="lines" dir="auto">
                      {upload.message}
                    </p>
                  )}
                </li>
              ))}
            </ul>
          </section>
        </div>
      </div>
      {isRemoving && (
        <Confirm
          title={say(texts.images.removeTitle, { count: 1 })}
          detail={texts.images.removeDetail}
          action={texts.image.remove}
          onConfirm={async () => {
            await api.removeImage(id)
            tell(say(texts.images.removed, { count: 1 }))
            location.hash = '#/images'
          }}
          onClose={() => setRemoving(false)}
        />
      )}
    </div>
  )
}

const STEPS = [1, 1.5, 2, 3, 4, 6]

function Preview({ image }: { image: ImageWithUploads }) {
  const [step, setStep] = useState(0)
  const [state, setState] = useState<'loading' | 'shown' | 'failed'>('loading')
  const isServed = image.status === 'ready' || image.status === 'failed' || image.status === 'pending'
  const zoom = STEPS[step]!
  const { shownWidth: width = 4, shownHeight: height = 3 } = image
  return (
    <section class="preview" aria-label={texts.image.preview}>
      {/* biome-ignore lint/a11y:  a zoomed picture is scrolled with the keyboard */}
      <div class="stage" tabIndex={0} role="group" aria-label={texts.image.preview}>
        <span
          class="sheet"
          style={{
            aspectRatio: `${width} / ${height}`,
            width: `min(${100 * zoom}%, ${(70 * zoom * width) / height}vh)`,
          }}
        >
          {image.placeholder && state !== 'shown' && <Placeholder hash={image.placeholder} />}
          {isServed && state !== 'failed' && (
            <img
              src={previewUrl(image.id, zoom > 1 ? 2560 : 1280)}
              alt={image.uploads[0]?.name ?? image.format}
              onLoad={() => setState('shown')}
              onError={() => setState('failed')}
            />
          )}
          {(!isServed || state === 'failed') && <span class="badge over">{texts.image.noPreview}</span>}
        </span>
      </div>
      <div class="actions zoom">
        <button
          type="button"
          class="button second"
          onClick={() => setStep(Math.max(0, step - 1))}
          disabled={step === 0}
          aria-label={texts.image.zoomOut}
        >
          <Icon name="minus" />
        </button>
        <button type="button" class="button second" onClick={() => setStep(0)}>
          {texts.image.fit}
        </button>
        <button
          type="button"
          class="button second"
          onClick={() => setStep(Math.min(STEPS.length - 1, step + 1))}
          disabled={step === STEPS.length - 1}
          aria-label={texts.image.zoomIn}
        >
          <Icon name="plus" />
        </button>
        <span class="soft small" role="status">
          {number(Math.round(zoom * 100))} %
        </span>
      </div>
    </section>
  )
}

function Facts({ image }: { image: ImageWithUploads }) {
  const { fields } = texts.image
  const shown = (value: number | undefined, unit: string) => value !== undefined && `${number(value)} ${unit}`
  const rows: [string, string | false | undefined][] = [
    [fields.status, texts.images.statuses[image.status]],
    [fields.failure, image.failure],
    [fields.damage, image.damage],
    [fields.objectFault, image.objectFault && texts.images.faults[image.objectFault]],
    [fields.takenAt, image.takenAt && showClock(image.takenAt, image.takenOffset)],
    [fields.camera, [image.cameraMake, image.cameraModel].filter(Boolean).join(' ')],
    [fields.lens, image.lens],
    [fields.format, `${image.format} · ${image.mediaType}`],
    [
      fields.dimensions,
      image.shownWidth !== undefined && `${number(image.shownWidth)} × ${number(image.shownHeight!)}`,
    ],
    [fields.size, bytes(image.size)],
    [
      fields.colour,
      [
        image.colourSpace,
        image.bitDepth && `${image.bitDepth} bit`,
        image.hasAlpha && texts.image.transparent,
      ]
        .filter(Boolean)
        .join(' · '),
    ],
    [
      fields.orientation,
      image.orientation !== undefined && image.orientation !== 1 && String(image.orientation),
    ],
    [fields.frames, image.frames !== undefined && number(image.frames)],
    [fields.duration, image.duration !== undefined && shown(image.duration / 1000, 's')],
    [fields.altitude, image.altitude !== undefined && shown(Math.round(image.altitude), 'm')],
    [fields.receivedAt, time(image.receivedAt)],
    [fields.lastAccessedAt, time(image.lastAccessedAt)],
    [fields.tier, [texts.image.tiers[image.tier], image.region].filter(Boolean).join(' · ')],
    [
      fields.visibility,
      [image.private && texts.image.private, image.stripMetadata && texts.image.stripped]
        .filter(Boolean)
        .join(' · '),
    ],
    [fields.hash, image.hash],
    [fields.id, image.id],
  ]
  return (
    <dl class="facts">
      {rows
        .filter(([, value]) => value)
        .map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd dir="auto">{value}</dd>
          </div>
        ))}
    </dl>
  )
}

/** The camera's own clock: it is not converted to the zone of the reader. */
const showClock = (takenAt: string, offset: string | undefined) =>
  `${takenAt.replace('T', ' ')}${offset ? ` (${offset})` : ''}`

function WorldMap({ latitude, longitude }: { latitude: number; longitude: number }) {
  const place = {
    latitude: number(Number(latitude.toFixed(5))),
    longitude: number(Number(longitude.toFixed(5))),
  }
  return (
    <>
      <svg class="map" viewBox="0 0 720 360" role="img" aria-label={say(texts.image.map, place)}>
        <path class="land" d={land} />
        <circle class="halo" cx={(longitude + 180) * 2} cy={(90 - latitude) * 2} r="22" />
        <circle class="spot" cx={(longitude + 180) * 2} cy={(90 - latitude) * 2} r="8" />
      </svg>
      <p class="soft small">
        <bdi dir="ltr">
          {place.latitude}, {place.longitude}
        </bdi>
      </p>
    </>
  )
}
