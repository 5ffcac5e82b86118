import postgres from 'postgres'
import { Metadata } from '../../schemas/images.ts'
import type { MetadataRow } from './interfaces/images.ts'

const fields = Object.keys(Metadata.properties) as (keyof Metadata)[]
const columnOf = Object.fromEntries(fields.map((field) => [field, postgres.fromCamel(field)]))

/** The known fields of an image's metadata, by the names of their columns. */
export const metadataByColumn = (metadata: Metadata) =>
  Object.fromEntries(Object.entries(metadata).map(([field, value]) => [columnOf[field]!, value]))

/** All fields of an image's metadata, null if unknown. */
export const toMetadataRow = (metadata: Metadata) =>
  Object.fromEntries(fields.map((field) => [field, metadata[field] ?? null])) as unknown as MetadataRow
