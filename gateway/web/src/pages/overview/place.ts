// Where things are in the picture of the network. Places come from names, not from forces: nothing moves when a device
// joins, so that people learn where what is.
import type { Row } from "../devices/device";

export interface Point {
  x: number;
  y: number;
}

export interface Spot extends Point {
  row: Row;
}

export interface Disc extends Point {
  name: string;
  radius: number;
  spots: Spot[];
}

export const HEIGHT = 420;
/** Degrees by which each device is turned against the one before: sunflowers fill their discs so. */
const GOLDEN = 2.399963;
const GAP = 11;

/** A number of a name that is always the same (FNV-1a). */
export function hash(name: string): number {
  let value = 2_166_136_261;
  for (const letter of name) value = Math.imul(value ^ (letter.codePointAt(0) ?? 0), 16_777_619);
  return value >>> 0;
}

/** Evenly on a line, by name. */
function line(rows: Row[], width: number, y: number): Spot[] {
  const sorted = [...rows].sort((one, other) => (one.name < other.name ? -1 : 1));
  return sorted.map((row, n) => ({ row, x: ((n + 1) * width) / (sorted.length + 1), y }));
}

export interface Places {
  lighthouses: Spot[];
  relays: Spot[];
  groups: Disc[];
}

/** Lighthouses on top, relays below them, and the groups on an arc under both, each device in its first group. */
export function place(rows: Row[], width: number): Places {
  const of = (role: Row["role"]) => rows.filter((row) => row.role === role);
  const members = new Map<string, Row[]>();
  for (const row of of("host")) members.set(row.groups[0] ?? "", [...(members.get(row.groups[0] ?? "") ?? []), row]);
  const names = [...members.keys()].sort((one, other) => hash(one) - hash(other));
  const groups = names.map((name, n) => {
    const inside = [...(members.get(name) ?? [])].sort((one, other) => (one.registeredAt < other.registeredAt ? -1 : 1));
    const share = (n + 0.5) / names.length;
    const center = { x: width * (0.08 + 0.84 * share), y: HEIGHT * (0.58 + 0.16 * Math.sin(Math.PI * share)) };
    // Discs keep to their part of the arc, so that they do not overlap.
    const step = Math.min(1.25 * GAP, ((width * 0.42) / names.length - GAP / 2) / Math.sqrt(inside.length + 0.5));
    const spots = inside.map((row, at) => {
      const [angle, distance] = [at * GOLDEN + (hash(name) % 6), step * Math.sqrt(at + (inside.length > 1 ? 0.5 : 0))];
      return { row, x: center.x + Math.cos(angle) * distance, y: center.y + Math.sin(angle) * distance };
    });
    return { name, ...center, radius: step * Math.sqrt(inside.length) + GAP / 2, spots };
  });
  return { lighthouses: line(of("lighthouse"), width, HEIGHT * 0.12), relays: line(of("relay"), width, HEIGHT * 0.3), groups };
}
