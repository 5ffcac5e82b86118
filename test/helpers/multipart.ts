export interface TestPart {
  /** Header fields of the part, in full where they matter; `name` and `filename` make up Content-Disposition. */
  headers?: Record<string, string>
  name?: string
  filename?: string
  type?: string
  body: Uint8Array | string
}

const BOUNDARY = 'the-boundary'

/** Makes the body of multipart/form-data by hand, so that it can be wrong. */
export function multipart(parts: TestPart[], { end = `--${BOUNDARY}--\r\n` } = {}) {
  const chunks: Uint8Array[] = []
  for (const { headers, name = 'image', filename = 'image.png', type = 'image/png', body } of parts) {
    const fields = headers ?? {
      'Content-Disposition': `form-data; name="${name}"; filename="${filename}"`,
      'Content-Type': type,
    }
    const lines = Object.entries(fields).map(([field, value]) => `${field}: ${value}\r\n`)
    chunks.push(Buffer.from(`--${BOUNDARY}\r\n${lines.join('')}\r\n`), Buffer.from(body), Buffer.from('\r\n'))
  }
  return {
    headers: { 'content-type': `multipart/form-data; boundary=${BOUNDARY}` },
    payload: Buffer.concat([...chunks, Buffer.from(end)]),
  }
}
