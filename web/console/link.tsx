import { useRef, useState } from 'preact/hooks'
import { encode } from 'uqr'
import { ApiError, api, archiveOfLink, type Link, type LinkUpload } from './api.ts'
import {
  bytes,
  Confirm,
  copyText,
  Dialog,
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
import { DurationFields, StatusBadge } from './links.tsx'
import { Picture } from './picture.tsx'

const POLL_MS = 4_000
const PAGE = 60

/** One link: its URL, its QR code, and its uploads, which arrive while one looks. */
export function LinkView({ id }: { id: string }) {
  const [limit, setLimit] = useState(PAGE)
  const { data: link, error, reload } = useLoaded(() => api.link(id, { limit }), `${id} ${limit}`, POLL_MS)
  const [dialog, setDialog] = useState<'extend' | 'close'>()
  const address = useRef<HTMLParagraphElement>(null)
  const copy = async () => tell((await copyText(address.current!)) ? texts.copied : texts.link.selected)
  if (error && !link) return <Problem error={error} retry={reload} />
  if (!link) return <Loading />
  const url = link.url ?? new URL(`uploads/${id}`, document.baseURI).href
  const canChange = link.status !== 'revoked'
  return (
    <div class="stack wide">
      <a class="back" href="#/links">
        <Icon name="back" />
        {texts.links.title}
      </a>
      <div class="title">
        <div class="heading">
          <h1 dir="auto">{link.label ?? texts.links.untitled}</h1>
          <StatusBadge status={link.status} />
        </div>
        {link.description && (
          <p class="soft lines" dir="auto">
            {link.description}
          </p>
        )}
      </div>
      <section class="card share">
        <QrCode text={url} />
        <div class="stack grow">
          <p class="url" ref={address}>
            {url}
          </p>
          <div class="actions">
            <button type="button" class="button" onClick={copy}>
              <Icon name="copy" />
              {texts.link.copy}
            </button>
            <button type="button" class="button second" onClick={() => print()}>
              <Icon name="print" />
              {texts.link.print}
            </button>
            {canChange && (
              <>
                <button type="button" class="button second" onClick={() => setDialog('extend')}>
                  <Icon name="clock" />
                  {texts.link.extend}
                </button>
                <button type="button" class="button plain" onClick={() => setDialog('close')}>
                  {texts.link.closeLink}
                </button>
              </>
            )}
          </div>
          <Facts link={link} />
        </div>
      </section>
      <div class="bar">
        <h2>{texts.link.uploads}</h2>
        {link.uploads > 0 && (
          <div class="actions">
            <a class="button second" href={`#/images?link=${id}`}>
              <Icon name="grid" />
              {texts.link.gallery}
            </a>
            <a class="button second" href={archiveOfLink(id)} download>
              <Icon name="download" />
              {texts.link.archive}
            </a>
          </div>
        )}
      </div>
      {link.received.items.length === 0 ? (
        <p class="empty soft">{texts.link.noUploads}</p>
      ) : (
        <ul class="uploads">
          {link.received.items.map((upload) => (
            <Upload key={`${upload.imageId} ${upload.receivedAt}`} upload={upload} />
          ))}
        </ul>
      )}
      {link.received.nextCursor && limit < 500 && (
        <button type="button" class="button second" onClick={() => setLimit(Math.min(500, limit + 120))}>
          {texts.more}
        </button>
      )}
      {dialog === 'extend' && <Extend id={id} onClose={() => setDialog(undefined)} onDone={reload} />}
      {dialog === 'close' && (
        <Confirm
          title={texts.link.closeTitle}
          detail={texts.link.closeDetail}
          action={texts.link.closeLink}
          onConfirm={() => api.revokeLink(id).then(reload)}
          onClose={() => setDialog(undefined)}
        />
      )}
    </div>
  )
}

function Facts({ link }: { link: Link }) {
  const { maxImages, maxBytes, opensOn } = link
  const of = (used: string, all: string | undefined) => (all ? say(texts.link.of, { used, all }) : used)
  return (
    <dl class="facts">
      <dt>{texts.link.received}</dt>
      <dd>
        {of(number(link.uploads), (maxImages && number(maxImages)) || undefined)} ·{' '}
        {of(bytes(link.bytes), maxBytes ? bytes(maxBytes) : undefined)}
      </dd>
      <dt>{texts.link.expires}</dt>
      <dd>{time(link.expiresOn)}</dd>
      {opensOn && (
        <>
          <dt>{texts.link.opens}</dt>
          <dd>{time(opensOn)}</dd>
        </>
      )}
      {link.hasPassword && (
        <>
          <dt>{texts.link.password}</dt>
          <dd>{texts.link.hasPassword}</dd>
        </>
      )}
    </dl>
  )
}

function QrCode({ text }: { text: string }) {
  const { data, size } = encode(text, { border: 2 })
  const path = data.flatMap((row, y) => row.map((isDark, x) => (isDark ? `M${x} ${y}h1v1h-1z` : ''))).join('')
  return (
    <svg class="qr" viewBox={`0 0 ${size} ${size}`} role="img" aria-label={texts.link.qr}>
      <path d={path} />
    </svg>
  )
}

const Upload = ({ upload }: { upload: LinkUpload }) => (
  <li>
    <a href={`#/images/${upload.imageId}`} class="upload">
      <Picture id={upload.imageId} status={upload.status} />
      <span class="clip" dir="auto">
        {upload.name ?? texts.link.noName}
      </span>
      <span class="soft small clip" dir="auto">
        {upload.sender ? say(texts.link.from, { name: upload.sender }) : time(upload.receivedAt)}
        {upload.duplicate && ` · ${texts.link.duplicate}`}
      </span>
      {upload.message && (
        <span class="small clip" dir="auto">
          {upload.message}
        </span>
      )}
    </a>
  </li>
)

function Extend({ id, onClose, onDone }: { id: string; onClose: () => void; onDone: () => void }) {
  const [error, setError] = useState<ApiError>()
  const submit = async (event: SubmitEvent) => {
    event.preventDefault()
    const form = new FormData(event.currentTarget as HTMLFormElement)
    const chosen = String(form.get('duration'))
    const change =
      chosen === 'exact'
        ? { timeExact: new Date(String(form.get('date'))).toISOString() }
        : { sinceNow: chosen }
    try {
      await api.changeLink(id, change)
      onClose()
      onDone()
    } catch (error) {
      if (error instanceof ApiError) setError(error)
    }
  }
  return (
    <Dialog title={texts.link.extend} onClose={onClose}>
      <form class="stack" onSubmit={submit}>
        <p class="soft">{texts.link.extendTitle}</p>
        <DurationFields />
        {error && <Problem error={error} />}
        <div class="actions end">
          <button type="submit" class="button">
            {texts.link.extend}
          </button>
        </div>
      </form>
    </Dialog>
  )
}
