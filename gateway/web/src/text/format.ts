// How numbers and times are written. Pure: the present moment is an argument.

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** 1500 → "1.5 kB". Decimal units, as disks and networks count. */
export function bytes(count: number): string {
  if (count < 1000) return `${count} B`;
  let value = count;
  let unit = -1;
  // 999 950 would otherwise be written "1000 kB".
  while (value >= 999.95) {
    value /= 1000;
    unit += 1;
  }
  const text = value < 99.95 ? value.toFixed(1).replace(/\.0$/, "") : value.toFixed(0);
  return `${text} ${["kB", "MB", "GB", "TB", "PB", "EB"][unit]}`;
}

/** Milliseconds → "45 s", "3 min 20 s", "2 h 5 min", "3 days". */
export function duration(milliseconds: number): string {
  const ms = Math.max(0, milliseconds);
  const part = (size: number, of: number) => Math.floor((ms % of) / size);
  const pair = (big: string, small: number, unit: string) => (small > 0 ? `${big} ${small} ${unit}` : big);
  if (ms < MINUTE) return `${Math.round(ms / SECOND)} s`;
  if (ms < HOUR) return pair(`${part(MINUTE, HOUR)} min`, part(SECOND, MINUTE), "s");
  if (ms < 2 * DAY) return pair(`${Math.floor(ms / HOUR)} h`, part(MINUTE, HOUR), "min");
  return coarse(ms);
}

function coarse(ms: number): string {
  // "13 months" says more than "1 year".
  if (ms >= 730 * DAY) return `${Math.floor(ms / (365 * DAY))} years`;
  const scale: [number, string, string][] = [
    [30 * DAY, "month", "months"],
    [DAY, "day", "days"],
    [HOUR, "h", "h"],
    [MINUTE, "min", "min"],
  ];
  for (const [size, one, many] of scale) {
    const whole = Math.floor(ms / size);
    if (whole > 0) return `${whole} ${whole === 1 ? one : many}`;
  }
  return "less than a minute";
}

/** "3 min ago". A clock slightly ahead of ours is "just now" too. */
/** A moment of a film. */
export function clock(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60].map((one) => String(one).padStart(2, "0"));
  return `${hours === "00" ? "" : `${hours}:`}${minutes}:${rest}`;
}

export function ago(time: string, now: number): string {
  const ms = now - Date.parse(time);
  return ms < MINUTE ? "just now" : `${coarse(ms)} ago`;
}

/** SQL writes its messages in lower case and without a full stop; people are shown sentences. */
export function sentence(text: string): string {
  const start = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(start) ? start : `${start}.`;
}

/** "in 3 months", or "expired 2 days ago" once it is past. */
export function expiry(time: string, now: number): string {
  const ms = Date.parse(time) - now;
  return ms > 0 ? `in ${coarse(ms)}` : `expired ${coarse(-ms)} ago`;
}

/** How much an expiry should worry: fine, soon (less than a fortnight), past. */
export function urgency(time: string, now: number): "fine" | "soon" | "past" {
  const ms = Date.parse(time) - now;
  return ms <= 0 ? "past" : ms < 14 * DAY ? "soon" : "fine";
}

/** The exact moment, in local time, for tooltips. */
export function moment(time: string): string {
  return new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" }).format(new Date(time));
}

/** 0.428 → "43 %". Never 100 % before it is done. */
export function percent(share: number): string {
  const bounded = Math.min(1, Math.max(0, share));
  return `${bounded < 1 ? Math.min(99, Math.round(bounded * 100)) : 100} %`;
}

/** Decimal text → grouped digits, or a power of ten where digits would be noise (an IPv6 /64). */
export function count(text: string): string {
  if (text.length > 12) {
    const [digits = "", power = ""] = Number(text).toExponential(1).split("e+");
    return `${digits} × 10${[...power].map((digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(digit)]).join("")}`;
  }
  return text.replace(/\B(?=(\d{3})+$)/g, "\u2009");
}

/** part / whole of decimal texts of any size, 0 to 1. */
export function share(part: string, whole: string): number {
  const all = BigInt(whole);
  return all === 0n ? 0 : Number((BigInt(part) * 1_000_000n) / all) / 1_000_000;
}
