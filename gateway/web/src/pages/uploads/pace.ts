/** Milliseconds over which the pace is measured: the mean since the start would hide that a line became slow. */
const WINDOW = 15_000;
/** Before that much time has passed, it would be a guess. */
const SHORTEST = 2000;

/** How fast bytes go. */
export class Pace {
  readonly points: { at: number; sent: number }[] = [];

  add(at: number, sent: number): void {
    const last = this.points.at(-1);
    // After a lost connection it goes on at an earlier byte.
    if (last && sent < last.sent) this.points.length = 0;
    this.points.push({ at, sent });
    while (this.points.length > 2 && (this.points[1]?.at ?? at) <= at - WINDOW) this.points.shift();
  }

  /** Bytes per second; null while it would be a guess. */
  get rate(): number | null {
    const [first, last] = [this.points[0], this.points.at(-1)];
    if (!first || !last || last.at - first.at < SHORTEST) return null;
    return ((last.sent - first.sent) / (last.at - first.at)) * 1000;
  }

  /** Milliseconds until a file of this size is sent; null while it would be a guess. */
  remaining(size: number): number | null {
    const [rate, last] = [this.rate, this.points.at(-1)];
    return rate && last ? ((size - last.sent) / rate) * 1000 : null;
  }
}
