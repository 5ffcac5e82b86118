import type { App } from './app.ts'

type Answer = Awaited<ReturnType<App['inject']>>
export type Fields = Record<string, string | number>
type Methods = 'POST' | 'PATCH' | 'HEAD' | 'GET' | 'DELETE' | 'OPTIONS'

const base64 = (text: string) => Buffer.from(text).toString('base64')

const tusFields = { 'tus-resumable': '1.0.0' }
const draftFields = { 'upload-draft-interop-version': '8' }

/** Requests of resumable uploads by `inject`, with fields that can be wrong. */
export function resumableClient(app: App) {
  const call = (method: Methods, url: string, headers: Fields = {}, payload?: Uint8Array): Promise<Answer> =>
    app.inject({ method, url, headers, ...(payload && { payload: Buffer.from(payload) }) })
  const bytesOf = (payload: Uint8Array | undefined) => payload && { 'content-length': payload.length }

  /** The requests that the two protocols share, with the fields of one of them. */
  const protocol = (of: { fields: Fields; beginType: string; appendFields: Fields }) => ({
    begin: (link: string, headers: Fields, payload?: Uint8Array) =>
      call(
        'POST',
        `${link}/files`,
        { ...of.fields, ...(payload && { 'content-type': of.beginType, ...bytesOf(payload) }), ...headers },
        payload,
      ),
    append: (url: string, offset: number, payload: Uint8Array, headers: Fields = {}) =>
      call(
        'PATCH',
        url,
        { ...of.fields, ...of.appendFields, 'upload-offset': offset, ...bytesOf(payload), ...headers },
        payload,
      ),
    head: (url: string) => call('HEAD', url, of.fields),
  })

  return {
    call,
    tus: {
      ...protocol({
        fields: tusFields,
        beginType: 'application/offset+octet-stream',
        appendFields: { 'content-type': 'application/offset+octet-stream', accept: 'application/json' },
      }),
      metadata: (values: Record<string, string>) =>
        Object.entries(values)
          .map(([key, value]) => `${key} ${base64(value)}`)
          .join(','),
    },
    draft: protocol({
      fields: draftFields,
      beginType: 'application/octet-stream',
      appendFields: { 'content-type': 'application/partial-upload' },
    }),
    get: (url: string) => call('GET', url),
    remove: (url: string) => call('DELETE', url, tusFields),
  }
}

/** The URL of an upload that was begun. */
export function locationOf(answer: Answer): string {
  if (answer.statusCode >= 300) throw new Error(`${answer.statusCode} ${answer.body}`)
  return String(answer.headers.location)
}

/** Cuts bytes into `count` pieces. */
export function pieces(bytes: Buffer, count: number): { offset: number; piece: Buffer }[] {
  const size = Math.ceil(bytes.length / count)
  return Array.from({ length: count }, (_, n) => ({
    offset: n * size,
    piece: bytes.subarray(n * size, (n + 1) * size),
  }))
}
