import { expect, test } from "vitest";
import { Pace } from "./pace";

test("the pace is that of the last seconds, and nothing is guessed before", () => {
  const pace = new Pace();
  expect(pace.remaining(1000)).toBeNull();
  // 1000 a second until the fifteenth, then 10.
  for (let second = 0; second <= 30; second += 1) {
    pace.add(second * 1000, second <= 15 ? second * 1000 : 15_000 + (second - 15) * 10);
    if (second === 1) expect(pace.rate).toBeNull();
    if (second === 2) expect(pace.rate).toBe(1000);
  }
  expect(pace.rate).toBe(10);
  expect(pace.remaining(15_250)).toBe(10_000);
});

test("what was sent before an interruption counts for nothing", () => {
  const pace = new Pace();
  pace.add(0, 1_000_000);
  pace.add(3000, 1_003_000);
  expect(pace.rate).toBe(1000);
  pace.add(9000, 500_000);
  pace.add(12_000, 501_500);
  expect(pace.rate).toBe(500);
});
