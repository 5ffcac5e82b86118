const EARLIEST = Date.parse('0001-01-01T00:00:00Z')
const LATEST = Date.parse('9999-12-31T23:59:59.999Z')

/**
 * Reads an RFC 3339 date and time that the databases can store: in UTC, its year is from 1 to 9999.
 *
 * @returns undefined for another text, and for a leap second, which a Date cannot have
 */
export function toInstant(text: string): Date | undefined {
  const instant = new Date(text)
  return instant.getTime() >= EARLIEST && instant.getTime() <= LATEST ? instant : undefined
}
