import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

// Degrees. The map is coarse: a point is shown on a continent, not in a street.
const PRECISION = 2
const WIDTH = 360 * PRECISION
const SMALLEST_RING = 8

interface Topology {
  transform: { scale: [number, number]; translate: [number, number] }
  arcs: [number, number][][]
  objects: { land: { geometries: { arcs: number[][][] }[] } }
}

/**
 * The outline of land as the path of an SVG with the viewBox `0 0 720 360`: two units are one degree, longitude to the right
 * and latitude upwards. Made from Natural Earth's land at 1:110 million (TopoJSON §2.1.4).
 */
export function landPath(): string {
  const path = createRequire(import.meta.url).resolve('world-atlas/land-110m.json')
  const { transform, arcs, objects } = JSON.parse(readFileSync(path, 'utf8')) as Topology
  const decoded = arcs.map((arc) => decode(arc, transform))
  const rings = objects.land.geometries.flatMap((geometry) => geometry.arcs.flat())
  return rings
    .flatMap((ring) => cut(ring.flatMap((n) => (n < 0 ? decoded[~n]!.toReversed() : decoded[n]!))))
    .map(simplify)
    .filter((points) => points.length >= SMALLEST_RING)
    .map((points) => `M${points.map(([x, y]) => `${x} ${y}`).join('L')}Z`)
    .join('')
}

/** Cuts a ring where it crosses the edge of the map. A ring that crosses it once is around the South Pole. */
function cut(ring: [number, number][]): [number, number][][] {
  const crosses = (n: number) => Math.abs(ring[n]![0] - ring.at(n - 1)![0]) > WIDTH / 2
  const first = ring.findIndex((_, n) => crosses(n))
  if (first < 0) return [ring]
  const parts: [number, number][][] = []
  for (let n = first; n < first + ring.length; n++) {
    if (crosses(n % ring.length)) parts.push([])
    parts.at(-1)!.push(ring[n % ring.length]!)
  }
  if (parts.length > 1) return parts
  const [part] = parts as [[number, number][]]
  return [[...part, [part.at(-1)![0], WIDTH / 2], [part[0]![0], WIDTH / 2]]]
}

function decode(arc: [number, number][], { scale, translate }: Topology['transform']): [number, number][] {
  let [x, y] = [0, 0]
  return arc.map(([dx, dy]) => {
    x += dx
    y += dy
    const [longitude, latitude] = [x * scale[0] + translate[0], y * scale[1] + translate[1]]
    return [Math.round((longitude + 180) * PRECISION), Math.round((90 - latitude) * PRECISION)]
  })
}

const simplify = (points: [number, number][]) =>
  points.filter(([x, y], n) => n === 0 || x !== points[n - 1]![0] || y !== points[n - 1]![1])
