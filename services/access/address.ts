import ipaddr from 'ipaddr.js'

// The longest address has 45 characters. A zone or a port may follow it.
const MAX_LENGTH = 100

/**
 * The networks by which a client is counted, the narrowest first. One address has one form here: `::ffff:192.0.2.1` is
 * `192.0.2.1`, `::1` is `127.0.0.1`, and a port does not count. The owner of an IPv6 address usually has its /64 and
 * often its /48, so an IPv6 address counts as both networks.
 *
 * @param address an IP address of a connection or of X-Forwarded-For, perhaps with a port
 */
export function networksOf(address: string | undefined): string[] {
  const text = withoutPort((address ?? '').slice(0, MAX_LENGTH).trim())
  const isPlain = text.includes(':') || ipaddr.IPv4.isValidFourPartDecimal(text)
  if (!isPlain || !ipaddr.isValid(text)) return [text.toLowerCase()]
  const parsed = ipaddr.process(text)
  if (parsed.range() === 'loopback') return ['127.0.0.1']
  if (parsed instanceof ipaddr.IPv4) return [parsed.toString()]
  return [64, 48].map((bits) => {
    const network = ipaddr.IPv6.networkAddressFromCIDR(`${withoutZone(parsed)}/${bits}`)
    return `${network.toRFC5952String()}/${bits}`
  })
}

/** `192.0.2.1:80` and `[2001:db8::1]:80`, as some proxies write them. */
function withoutPort(text: string) {
  return /^\[([^\]]*)\](:\d+)?$/.exec(text)?.[1] ?? /^([\d.]+):\d+$/.exec(text)?.[1] ?? text
}

const withoutZone = ({ parts }: ipaddr.IPv6) => new ipaddr.IPv6(parts).toString()
