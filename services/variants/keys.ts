import { customAlphabet } from 'nanoid'

const newSuffix = customAlphabet('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz', 12)

/** Creates the key of a variant's object. It begins with the image's id, so the object is beside the image's. */
export const newVariantKey = (imageId: string) => `${imageId}v${newSuffix()}`

/** Whether a key in an object store is that of a variant. An image's key is shorter. */
export const isVariantKey = (key: string) => /^[0-9A-Za-z]{48}v[0-9A-Za-z]{12}$/.test(key)
