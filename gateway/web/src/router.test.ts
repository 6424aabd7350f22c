import { expect, test, vi } from "vitest";

vi.mock("./data/store", () => ({ named: { value: "" } }));
vi.mock("vue-router", () => ({ createRouter: () => ({ beforeEach: () => {}, afterEach: () => {} }), createWebHistory: () => null }));

test("addresses from before lead to the same pages, and nothing else is taken for one", async () => {
  const { fromHash } = await import("./router");
  expect(["#/home/files", "#/home/overview", "#/home", "#/a%20b/peers", "#/home/nodes", "#/"].map(fromHash)).toEqual([
    "/p/home/library",
    "/p/home",
    "/p/home",
    "/p/a%20b/peers",
    "/nodes",
    "/",
  ]);
  expect(["", "#main", "#//evil.example/x/y", "#/home/../x"].map(fromHash)).toEqual([null, null, null, null]);
});
