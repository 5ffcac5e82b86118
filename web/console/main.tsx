import './style.css'
import { render } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { type ApiError, api, type Session, whenSignedOut } from './api.ts'
import { Announcer, Field, texts, useRoute } from './common.tsx'
import { ImageView } from './image.tsx'
import { ImagesView } from './images.tsx'
import { LinkView } from './link.tsx'
import { LinksView } from './links.tsx'
import { OperationView } from './operation.tsx'
import { StatisticsView } from './statistics.tsx'

/** A mark that this browser has signed in. It is not a secret: the cookie is, and no script can read it. */
const mark = {
  get: () => attempt(() => localStorage.getItem('signed-in')) !== null,
  set: () => attempt(() => localStorage.setItem('signed-in', 'yes')),
  remove: () => attempt(() => localStorage.removeItem('signed-in')),
}

/** A browser may forbid storage. Then nothing is remembered. */
function attempt<Result>(act: () => Result) {
  try {
    return act()
  } catch {
    return undefined
  }
}

const SECTIONS = ['links', 'images', 'statistics', 'operation'] as const

function App() {
  const [session, setSession] = useState<Session | null>()
  const enter = (session: Session) => {
    mark.set()
    setSession(session)
  }
  const leave = () => {
    mark.remove()
    setSession(null)
  }
  useEffect(() => {
    whenSignedOut(leave)
    // Without the mark there is no session, and a browser would report the refused call as an error.
    if (mark.get()) api.session().then(setSession, leave)
    else setSession(null)
  }, [])
  if (session === undefined) return null
  if (session === null) return <SignIn onDone={enter} />
  return <Console onSignOut={leave} />
}

function SignIn({ onDone }: { onDone: (session: Session) => void }) {
  const [fault, setFault] = useState('')
  const [isBusy, setBusy] = useState(false)
  const submit = async (event: SubmitEvent) => {
    event.preventDefault()
    const form = event.currentTarget as HTMLFormElement
    setBusy(true)
    setFault('')
    try {
      const session = await api.signIn(String(new FormData(form).get('token')).trim())
      form.reset()
      onDone(session)
    } catch (error) {
      const { status, message } = error as ApiError
      setFault(status === 401 ? texts.signIn.wrong : status === 429 ? texts.signIn.tooMany : message)
      setBusy(false)
    }
  }
  useEffect(() => {
    document.title = `${texts.signIn.title} · Hasty`
  }, [])
  return (
    <main class="sign-in">
      <form class="card stack" onSubmit={submit} method="post">
        <Brand />
        <div class="title">
          <h1>{texts.signIn.title}</h1>
          <p class="soft">{texts.signIn.detail}</p>
        </div>
        <Field
          autofocus
          id="token"
          label={texts.signIn.token}
          type="password"
          required
          autocomplete="current-password"
          aria-invalid={fault !== ''}
          aria-errormessage="sign-in-fault"
        />
        <p class="fault" id="sign-in-fault" role="alert">
          {fault}
        </p>
        <button type="submit" class="button" disabled={isBusy}>
          {texts.signIn.button}
        </button>
      </form>
    </main>
  )
}

const Brand = () => (
  <span class="brand">
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true">
      <path d="M12 19V6m-5 5 5-5 5 5" />
    </svg>
    Hasty
  </span>
)

function Console({ onSignOut }: { onSignOut: () => void }) {
  const { parts, query } = useRoute()
  const [section = '', id = ''] = parts
  const active = SECTIONS.find((each) => each === section) ?? 'links'
  const main = useRef<HTMLElement>(null)
  const isFirst = useRef(true)
  const path = parts.join('/')
  useEffect(() => {
    document.title = `${texts.nav[active]} · Hasty`
    // After a navigation, a screen reader begins at the new content.
    if (!isFirst.current) main.current?.focus({ preventScroll: true })
    isFirst.current = false
    scrollTo(0, 0)
  }, [path])
  return (
    <>
      <button type="button" class="skip button" onClick={() => main.current?.focus()}>
        {texts.skip}
      </button>
      <header class="top">
        <Brand />
        <nav aria-label={texts.nav.label}>
          {SECTIONS.map((each) => (
            <a key={each} href={`#/${each}`} aria-current={each === active ? 'page' : undefined}>
              {texts.nav[each]}
            </a>
          ))}
        </nav>
        <button
          type="button"
          class="button plain small"
          onClick={() => api.signOut().then(onSignOut, onSignOut)}
        >
          {texts.signOut}
        </button>
      </header>
      <main ref={main} id="main" tabIndex={-1} key={path}>
        <View section={active} id={id} query={query} />
      </main>
      <Announcer />
    </>
  )
}

function View({ section, id, query }: { section: string; id: string; query: URLSearchParams }) {
  switch (section) {
    case 'images':
      return id ? <ImageView id={id} /> : <ImagesView query={query} />
    case 'statistics':
      return <StatisticsView />
    case 'operation':
      return <OperationView />
    default:
      return id ? <LinkView id={id} /> : <LinksView />
  }
}

render(<App />, document.getElementById('app')!)
