import { describe, expect, it } from "vitest";
import { ago, bytes, clock, count, duration, expiry, percent, sentence, share, urgency } from "./format";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const now = Date.parse("2026-03-01T12:00:00Z");
const at = (offset: number) => new Date(now + offset).toISOString();

describe("bytes", () => {
  it.each([
    [0, "0 B"],
    [999, "999 B"],
    [1000, "1 kB"],
    [1536, "1.5 kB"],
    [99_950, "100 kB"],
    [999_950, "1 MB"],
    [4_700_000_000, "4.7 GB"],
    [2 ** 53, "9 PB"],
  ])("%d is %s", (size, text) => expect(bytes(size)).toBe(text));
});

describe("duration", () => {
  it.each([
    [-5, "0 s"],
    [45 * SECOND, "45 s"],
    [3 * MINUTE, "3 min"],
    [3 * MINUTE + 20 * SECOND, "3 min 20 s"],
    [HOUR + 5 * MINUTE, "1 h 5 min"],
    [30 * HOUR, "30 h"],
    [3 * DAY, "3 days"],
  ])("%d ms is %s", (ms, text) => expect(duration(ms)).toBe(text));
});

describe("clock", () => {
  it.each([
    [-1, "00:00"],
    [59.9, "00:59"],
    [3725.2, "01:02:05"],
  ])("%d s is %s", (seconds, text) => expect(clock(seconds)).toBe(text));
});

describe("relative times", () => {
  it("tells how long ago, forgiving a clock that is ahead", () => {
    expect(ago(at(30 * SECOND), now)).toBe("just now");
    expect(ago(at(-59 * SECOND), now)).toBe("just now");
    expect(ago(at(-3 * MINUTE), now)).toBe("3 min ago");
    expect(ago(at(-2 * HOUR), now)).toBe("2 h ago");
    expect(ago(at(-DAY), now)).toBe("1 day ago");
    expect(ago(at(-400 * DAY), now)).toBe("13 months ago");
    expect(ago(at(-800 * DAY), now)).toBe("2 years ago");
  });
  it("tells when a certificate expires and how urgent that is", () => {
    expect([expiry(at(95 * DAY), now), urgency(at(95 * DAY), now)]).toEqual(["in 3 months", "fine"]);
    expect([expiry(at(10 * DAY), now), urgency(at(10 * DAY), now)]).toEqual(["in 10 days", "soon"]);
    expect([expiry(at(-2 * DAY), now), urgency(at(-2 * DAY), now)]).toEqual(["expired 2 days ago", "past"]);
  });
});

it("makes sentences of what SQL says", () => {
  expect(sentence("there is no file 7")).toBe("There is no file 7.");
  expect(sentence("Disk full!")).toBe("Disk full!");
});

describe("shares and counts", () => {
  it("never says 100 % before it is done", () => {
    expect(percent(0.428)).toBe("43 %");
    expect(percent(0.999)).toBe("99 %");
    expect(percent(1)).toBe("100 %");
    expect(percent(-1)).toBe("0 %");
  });
  it("divides counts that no number can hold", () => {
    expect(share("64", "256")).toBe(0.25);
    expect(share("9223372036854775808", "18446744073709551616")).toBe(0.5);
    expect(share("0", "0")).toBe(0);
  });
  it("groups digits, and gives up on digits where they are noise", () => {
    expect(count("254")).toBe("254");
    expect(count("16777216")).toBe("16\u2009777\u2009216");
    expect(count("18446744073709551616")).toBe("1.8 × 10¹⁹");
  });
});
