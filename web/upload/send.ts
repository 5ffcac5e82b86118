import { DetailedError, Upload } from 'tus-js-client'

/** What became of one file. */
export type Outcome =
  | { kind: 'arrived'; imageId: string; duplicate: boolean }
  /** `ends`: the link accepts no more files. */
  | { kind: 'refused'; reason: string; ends: boolean }
  /** The file may be sent again: a lost connection, or a busy service. */
  | { kind: 'lost' }

export interface Sending {
  outcome: Promise<Outcome>
  /** Stops without an outcome. */
  stop(): void
}

// The whole file in one request. A larger file gets a URL first, so that it continues after a lost connection.
const IN_ONE_REQUEST = 256 * 1024

/** Sends a file with tus. It continues if `url` is known. */
export function send(
  file: File,
  {
    endpoint,
    url,
    metadata,
    onProgress,
    onUrl,
  }: {
    endpoint: string
    url: string | undefined
    metadata: Record<string, string>
    onProgress: (bytes: number) => void
    onUrl: (url: string) => void
  },
): Sending {
  let upload!: Upload
  const outcome = new Promise<Outcome>((resolve) => {
    upload = new Upload(file, {
      endpoint,
      uploadUrl: url ?? null,
      metadata: { filename: file.name, ...metadata },
      uploadDataDuringCreation: file.size <= IN_ONE_REQUEST,
      retryDelays: null,
      storeFingerprintForResuming: false,
      onProgress,
      onUploadUrlAvailable() {
        // The page may be open under another host or path than PUBLIC_URL has.
        upload.url = `${endpoint}/${upload.url!.split('/').pop()}`
        onUrl(upload.url)
      },
      onSuccess: ({ lastResponse }) => resolve(readAnswer(lastResponse.getBody())),
      onError: (error) => resolve(readError(error)),
    })
    upload.start()
  })
  return { outcome, stop: () => void upload.abort() }
}

function readAnswer(body: string): Outcome {
  try {
    const [processed] = JSON.parse(body).processed
    return { kind: 'arrived', imageId: processed.id, duplicate: processed.duplicate }
  } catch {
    // The upload was complete before. Its response was lost.
    return { kind: 'arrived', imageId: '', duplicate: false }
  }
}

const LINK_REASONS: Record<string, string> = {
  'link-expired': 'link_expired',
  'link-revoked': 'link_revoked',
  'link-used-up': 'link_used_up',
  'link-not-found': 'link_revoked',
  'password-required': 'locked',
  'wrong-password': 'locked',
}

function readError(error: Error | DetailedError): Outcome {
  const response = error instanceof DetailedError ? error.originalResponse : null
  const status = response?.getStatus() ?? 0
  if (status < 400 || status >= 500 || [408, 409, 423, 429].includes(status)) {
    // Without a response, the file itself may be the reason: it was deleted or changed.
    return /NotReadable|NotFound/.test(error.message) ? refused('unreadable') : { kind: 'lost' }
  }
  try {
    const { type = '', rejected } = JSON.parse(response!.getBody())
    const kind = String(type).split(':').pop()!
    if (/^upload-/.test(kind) || kind === 'checksum-mismatch') return { kind: 'lost' }
    const reason = rejected?.[0]?.reason ?? LINK_REASONS[kind] ?? (status === 413 ? 'too_large' : 'other')
    return { kind: 'refused', reason, ends: kind in LINK_REASONS }
  } catch {
    return refused(status === 413 ? 'too_large' : 'other')
  }
}

const refused = (reason: string): Outcome => ({ kind: 'refused', reason, ends: false })
