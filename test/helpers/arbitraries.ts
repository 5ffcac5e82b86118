import fc, { type Arbitrary } from 'fast-check'

/** The part of JSON Schema (2020-12) that the contract uses. */
export interface Schema {
  $ref?: string
  type?: string
  enum?: unknown[]
  anyOf?: Schema[]
  pattern?: string
  format?: string
  minLength?: number
  maxLength?: number
  minimum?: number
  maximum?: number
  items?: Schema
  minItems?: number
  maxItems?: number
  properties?: Record<string, Schema>
  required?: string[]
  examples?: unknown[]
}

/** Values that a schema takes. @param find resolves a `$ref` */
export function valid(schema: Schema, find: (ref: string) => Schema): Arbitrary<unknown> {
  const { $ref, anyOf, type, examples = [] } = schema
  if ($ref) return valid(find($ref), find)
  if (schema.enum) return fc.constantFrom(...schema.enum)
  if (anyOf) return fc.oneof(...anyOf.map((each) => valid(each, find)))
  const any = values()
  return examples.length > 0 && type !== 'object' ? fc.oneof(any, fc.constantFrom(...examples)) : any

  function values(): Arbitrary<unknown> {
    const { minimum, maximum, items = {}, properties = {}, required = [] } = schema
    switch (type) {
      case 'string':
        return strings()
      case 'integer':
        return fc.maxSafeInteger().map((value) => clamp(value, minimum, maximum))
      case 'number':
        return fc
          .double({ noNaN: true, noDefaultInfinity: true })
          .map((value) => clamp(value, minimum, maximum))
      case 'boolean':
        return fc.boolean()
      case 'null':
        return fc.constant(null)
      case 'array':
        return fc.array(valid(items, find), {
          minLength: schema.minItems ?? 0,
          maxLength: schema.maxItems ?? 5,
        })
      case 'object': {
        const model = Object.fromEntries(
          Object.entries(properties).map(([name, each]) => [name, valid(each, find)]),
        )
        return fc.record(model, { requiredKeys: required })
      }
      default:
        return fc.jsonValue()
    }
  }

  function strings() {
    const { pattern, format, minLength = 0, maxLength = 60 } = schema
    if (format === 'date-time') return fc.date({ noInvalidDate: true }).map((date) => date.toISOString())
    // Text on one line.
    if (pattern?.includes('\\x')) return fc.string({ minLength, maxLength, unit: grapheme })
    if (pattern) return fc.stringMatching(new RegExp(pattern)).map((text) => text.slice(0, maxLength))
    return fc.string({ minLength, maxLength, unit: character })
  }
}

/** Any code point, without surrogates. fast-check's own unit `binary` makes a map of all of them, which takes a second. */
export const character = fc
  .integer({ min: 0, max: 0x10_ffff - 0x800 })
  .map((n) => String.fromCodePoint(n < 0xd800 ? n : n + 0x800))

/** What a person takes for one character, without control characters. */
const grapheme = fc.oneof(
  { weight: 9, arbitrary: character.map((each) => (/\p{Cc}/u.test(each) ? '\u00a0' : each)) },
  fc.constantFrom(
    'a',
    'é',
    'e\u0301',
    'ß',
    '한',
    '\u0e01\u0e33',
    '👩‍👩‍👧',
    '🇩🇪',
    '👍🏽',
    '\u202e',
    '\u200d',
    '\ufeff',
  ),
)

const clamp = (value: number, least = -Infinity, most = Infinity) =>
  value >= least && value <= most ? value : least + (Math.abs(value) % Math.min(most - least + 1, 2 ** 32))

/** Values that no schema allows, and values that often break parsers and databases. */
export const wild: Arbitrary<unknown> = fc.oneof(
  fc.jsonValue(),
  fc.string({ unit: character, maxLength: 300 }),
  fc.constantFrom(
    '',
    ' ',
    '\0',
    '\ud800',
    '\u202e',
    '../../etc/passwd',
    '__proto__',
    'constructor',
    '%00',
    '%',
    "' or 1=1 --",
    '$1',
    '{}',
    '[]',
    'null',
    'true',
    '-1',
    '1e999',
    'NaN',
    '9007199254740993',
    '99999999999999999999',
    '0x10',
    '1.5',
    'P1Y',
    'PT1H',
    'P999999999Y',
    'PT0.000000001S',
    '-PT1H',
    '2026-02-30T00:00:00Z',
    '9999-12-31T23:59:60Z',
    '+275760-09-13T00:00:00.000Z',
    '0000-00-00T00:00:00Z',
    '1,2,3,4',
    '-180,-90,180,90',
    '181,91,-181,-91',
    'x'.repeat(5000),
    -1,
    0,
    2 ** 53,
    1e308,
    true,
    null,
    [],
    {},
  ),
)
