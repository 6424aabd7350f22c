import { expect, it } from "vitest";
import type { Job } from "../../api/types";
import { action, attempts, doing, subject, word } from "./job";

const job = (parts: Partial<Job>) => ({ payload: {}, detail: null, errors: [], ...parts }) as Job;

it("shows failed attempts newest first", () => {
  const errors = [
    { attempt: 1, at: "2026-01-01T00:00:00Z", error: "first" },
    { attempt: 2, at: "2026-01-01T00:01:00Z", error: "second" },
  ];
  expect(attempts(job({ errors })).map((one) => one.error)).toEqual(["second", "first"]);
});

it("makes the best of entries it does not know", () => {
  expect(attempts(job({ errors: ["plain", { code: 7 }] })).map((one) => one.error)).toEqual(['{"code":7}', "plain"]);
  expect(attempts(job({ errors: null }))).toEqual([]);
});

it("names what it works on, if it can", () => {
  expect(subject(job({ payload: { name: "film.mkv" } }))).toBe("film.mkv");
  expect([subject(job({ payload: [] })), subject(job({ payload: null }))]).toEqual([null, null]);
});

it.each([
  [{ stage: "video", etaSeconds: 125 }, "video, 2 min 5 s left"],
  [{ stage: "probe", etaSeconds: null }, "probe"],
  [{ stage: 3 }, ""],
  [null, ""],
])("says of %o: %s", (detail, said) => expect(doing(job({ detail }))).toBe(said));

it.each([
  ["blocked", false, "cancel", "waiting for others"],
  ["available", false, "cancel", "waiting"],
  ["running", false, "cancel", "running"],
  ["running", true, null, "stopping"],
  ["succeeded", false, null, "done"],
  ["dead", false, "retry", "failed"],
  ["cancelled", false, "retry", "cancelled"],
] as const)("offers what %s (asked to stop: %s) allows", (state, cancelRequested, offered, said) => {
  const one = job({ state, cancelRequested });
  expect([action(one), word(one)]).toEqual([offered, said]);
});
