import type { LinkRow } from '../../stores/data/interfaces/links.ts'
import { InvalidSender, Rejection, SenderRequired } from '../errors.ts'

export const MAX_SENDER = 100
export const MAX_MESSAGE = 1_000

/** The name and the message of the sender. Null: not given. */
export interface Sender {
  sender: string | null
  message: string | null
}

/** The texts of a request, as they were sent. */
export interface GivenSender {
  sender?: string | undefined
  message?: string | undefined
}

/**
 * The sender's name and message, without control characters and characters that change the direction of text (UAX #9). A
 * message may have several lines.
 *
 * @throws {InvalidSender} a text is too long
 */
export function readSender({ sender, message }: GivenSender): Sender {
  return {
    sender: clean(sender?.replace(/\s+/g, ' '), 'sender', MAX_SENDER),
    message: clean(message?.replace(/\r\n?/g, '\n'), 'message', MAX_MESSAGE),
  }
}

function clean(text: string | undefined, name: string, most: number) {
  const cleaned = text
    ?.replace(/[^\P{Cc}\n]|\p{Bidi_Control}/gu, '')
    .trim()
    .normalize('NFC')
    .toWellFormed()
  if (!cleaned) return null
  if ([...cleaned].length > most)
    throw new InvalidSender({ detail: `Send a ${name} of at most ${most} characters.` })
  return cleaned
}

/** Makes sure that a link that requires the sender's name gets it. @throws {SenderRequired} */
export function requireSender({ askSender }: Pick<LinkRow, 'askSender'>, { sender }: Pick<Sender, 'sender'>) {
  if (askSender === 'required' && sender === null) throw new SenderRequired()
}

/** The rules of a link for one file. */
export type FileRules = Pick<LinkRow, 'accept' | 'maxFileSize'>

/** Makes sure that a link accepts a file of this size. @throws {Rejection} too_large */
export function requireSize({ maxFileSize }: Partial<FileRules>, bytes: number) {
  if (maxFileSize !== null && maxFileSize !== undefined && bytes > maxFileSize)
    throw new Rejection('too_large')
}

/** Makes sure that a link accepts a media type. @throws {Rejection} not_accepted */
export function requireType({ accept }: Partial<FileRules>, mediaType: string) {
  if (accept && !accept.split(',').includes(mediaType)) throw new Rejection('not_accepted')
}
