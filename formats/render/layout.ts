import { MAX_SIDE, type RenderRequest } from './request.ts'

/** In pixels. */
export interface Size {
  width: number
  height: number
}

/** How a picture is placed in a variant: resized to `size` (for `cover`, the rest is cut off), then padded to `canvas`. */
export interface Layout {
  fit: 'fill' | 'cover'
  size: Size
  canvas: Size
}

/** Never makes a picture larger. @param picture the size as shown, in pixels */
export function layOut(
  picture: Size,
  { width, height, fit }: Pick<RenderRequest, 'width' | 'height' | 'fit'>,
): Layout {
  if (fit === 'cover' && width && height) {
    const factor = Math.min(1, picture.width / width, picture.height / height)
    const size = scale({ width, height }, factor)
    return { fit: 'cover', size, canvas: size }
  }
  const factor = Math.min(1, (width ?? MAX_SIDE) / picture.width, (height ?? MAX_SIDE) / picture.height)
  const size = scale(picture, factor)
  const isPadded = fit === 'contain' && width !== undefined && height !== undefined
  return { fit: 'fill', size, canvas: isPadded ? { width, height } : size }
}

const scale = ({ width, height }: Size, factor: number): Size => ({
  width: Math.max(1, Math.round(width * factor)),
  height: Math.max(1, Math.round(height * factor)),
})

/** The sizes before a turn by 90 degrees. */
export const turned = ({ width, height }: Size): Size => ({ width: height, height: width })
