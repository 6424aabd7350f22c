import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { coalesce } from "./coalesce";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("coalesce", () => {
  it("turns many calls into one run", async () => {
    const run = vi.fn(async () => {});
    const call = coalesce(run, 100);
    for (let i = 0; i < 10; i++) call();
    await vi.advanceTimersByTimeAsync(1000);
    expect(run).toHaveBeenCalledTimes(1);
  });

  it("runs once more for calls during a run", async () => {
    let finish = () => {};
    const run = vi.fn(() => new Promise<void>((resolve) => (finish = resolve)));
    const call = coalesce(run, 100);
    call();
    await vi.advanceTimersByTimeAsync(100);
    call();
    call();
    await vi.advanceTimersByTimeAsync(1000);
    expect(run).toHaveBeenCalledTimes(1);
    finish();
    await vi.advanceTimersByTimeAsync(100);
    expect(run).toHaveBeenCalledTimes(2);
  });

  it("does not starve under a steady flow of calls", async () => {
    const run = vi.fn(async () => {});
    const call = coalesce(run, 100);
    for (let i = 0; i < 100; i++) {
      call();
      await vi.advanceTimersByTimeAsync(10);
    }
    expect(run.mock.calls.length).toBeGreaterThanOrEqual(9);
  });
});
