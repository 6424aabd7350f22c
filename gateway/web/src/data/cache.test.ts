import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { effectScope, nextTick, ref } from "vue";
import type * as Cache from "./cache";

/** Requests by path, and what the gateway has. */
let asked: string[];
let etags: (string | null)[];
let value: number;
let isDown: boolean;
let cache: typeof Cache;

beforeEach(async () => {
  vi.resetModules();
  vi.useFakeTimers();
  [asked, etags, value, isDown] = [[], [], 1, false];
  vi.doMock("../api/call", () => ({
    read: async (path: string, etag: string | null) => {
      asked.push(path);
      etags.push(etag);
      if (isDown) throw new Error("down");
      return etag === `"${value}"` ? null : { data: value, etag: `"${value}"` };
    },
  }));
  cache = await import("./cache");
});
afterEach(() => {
  vi.useRealTimers();
  vi.doUnmock("../api/call");
});

const settle = () => vi.advanceTimersByTimeAsync(300);

test("readers of the same URL share one request, and nobody who is gone is asked for", async () => {
  const [one, other] = [effectScope(), effectScope()];
  const first = one.run(() => cache.useData<number>(() => "/api/a"));
  other.run(() => cache.useData<number>(() => "/api/a"));
  await settle();
  expect([asked, first?.data]).toEqual([["/api/a"], 1]);
  value = 2;
  cache.outdate((key) => key === "/api/a");
  cache.outdate((key) => key === "/api/a");
  await settle();
  expect([asked.length, first?.data, etags[1]]).toEqual([2, 2, '"1"']);
  one.stop();
  other.stop();
  cache.outdate(() => true);
  await settle();
  expect(asked.length).toBe(2);
  // The way back shows what was there, and reads it anew because it was outdated meanwhile.
  const again = effectScope().run(() => cache.useData<number>(() => "/api/a"));
  expect(again?.data).toBe(2);
  await settle();
  expect(asked.length).toBe(3);
});

test("old data stay when new ones do not come", async () => {
  const read = effectScope().run(() => cache.useData<number>(() => "/api/a"));
  await settle();
  isDown = true;
  cache.outdate(() => true);
  await settle();
  expect([read?.data, read?.failure?.detail]).toEqual([1, "down"]);
  isDown = false;
  read?.refresh();
  await settle();
  expect([read?.data, read?.failure]).toEqual([1, null]);
});

test("a list is read as long as somebody uses it, also when its URL changes", async () => {
  const project = ref<string | null>(null);
  const list = cache.list<number>(() => project.value && `/api/list?projectId=${project.value}`);
  const scope = effectScope();
  scope.run(() => list.use());
  await settle();
  expect([asked, list.loaded]).toEqual([[], false]);
  project.value = "home";
  await nextTick();
  await settle();
  project.value = "zoo";
  await settle();
  expect([asked, list.loaded]).toEqual([["/api/list?projectId=home", "/api/list?projectId=zoo"], true]);
  scope.stop();
  project.value = "other";
  await settle();
  expect(asked.length).toBe(2);
});
