import { customAlphabet } from 'nanoid'

const ALPHANUMERIC = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

/** Creates the id of a link or an image: 48 letters and digits, 285 bits from the system's cryptographic generator. */
export const newId = customAlphabet(ALPHANUMERIC, 48)

/** Whether a text has the form of an id. */
export const isId = (text: string) => /^[0-9A-Za-z]{48}$/.test(text)
