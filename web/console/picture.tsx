import { useEffect, useRef, useState } from 'preact/hooks'
import { thumbHashToRGBA } from 'thumbhash'
import { type Image, thumbnailUrl } from './api.ts'
import { Icon, texts } from './common.tsx'

/** A small picture: its ThumbHash at once, then a variant. A status that needs attention is written on it. */
export function Picture({
  id,
  status,
  placeholder,
  alt = '',
  hasBadge = true,
}: Partial<Pick<Image, 'placeholder'>> & {
  id: string
  status: Image['status']
  alt?: string
  hasBadge?: boolean
}) {
  const [state, setState] = useState<'loading' | 'shown' | 'failed'>('loading')
  const isServed = status === 'ready' || status === 'failed' || status === 'pending'
  return (
    <span class={`picture ${state}`}>
      {placeholder && state !== 'shown' && <Placeholder hash={placeholder} />}
      {isServed && state !== 'failed' && (
        <img
          src={thumbnailUrl(id)}
          alt={alt}
          decoding="async"
          loading="lazy"
          onLoad={() => setState('shown')}
          onError={() => setState('failed')}
        />
      )}
      {(!isServed || state === 'failed') && <Icon name="picture" />}
      {hasBadge && status !== 'ready' && <span class="badge over">{texts.images.statuses[status]}</span>}
    </span>
  )
}

/** A blurred picture from a ThumbHash in Base64. */
export function Placeholder({ hash }: { hash: string }) {
  const ref = useRef<HTMLCanvasElement>(null)
  useEffect(() => {
    const canvas = ref.current!
    try {
      const { w, h, rgba } = thumbHashToRGBA(Uint8Array.from(atob(hash), (each) => each.charCodeAt(0)))
      canvas.width = w
      canvas.height = h
      canvas.getContext('2d')!.putImageData(new ImageData(new Uint8ClampedArray(rgba), w, h), 0, 0)
    } catch {
      // A placeholder is only decoration.
    }
  }, [hash])
  return <canvas ref={ref} />
}
