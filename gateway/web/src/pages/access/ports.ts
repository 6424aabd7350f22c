const MOST = 65_535;

/** The ports that a person has typed: none, one, or a range; null: that is no port. */
export function portsIn(text: string): { first: number | null; last: number | null } | null {
  if (text.trim() === "") return { first: null, last: null };
  const [, one, other = one] = /^\s*(\d+)\s*(?:[-–]\s*(\d+)\s*)?$/.exec(text) ?? [];
  const [first, last] = [Number(one), Number(other)];
  return one !== undefined && first >= 1 && last <= MOST && first <= last ? { first, last } : null;
}
