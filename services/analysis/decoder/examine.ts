import { decode } from '../../../formats/decode/decode.ts'
import { Undecodable } from '../../../formats/decode/undecodable.ts'
import type { Format } from '../../../formats/detect.ts'
import { NotAnImage, readMetadata } from '../../../formats/metadata.ts'
import type { Verdict } from '../../../stores/data/data-store.ts'

/** A file, and what is known of its format. */
export interface Job extends Format {
  path: string
}

/** Reads what an image tells of itself and decodes all of it. What can't be decoded here is known by its header alone. */
export async function examine({ path, ...format }: Job): Promise<Verdict> {
  try {
    const metadata = await readMetadata({ path }, format)
    try {
      const placeholder = await decode({ path }, metadata)
      return {
        status: 'ready',
        metadata: placeholder === undefined ? metadata : { ...metadata, placeholder },
      }
    } catch (error) {
      if (!(error instanceof Undecodable)) throw error
      return { status: error.status, failure: error.message, metadata }
    }
  } catch (error) {
    if (!(error instanceof NotAnImage)) throw error
    return { status: 'rejected', failure: error.message }
  }
}
