import { expect, test } from "vitest";
import type { HostNode } from "./api/types";
import { isNext, state } from "./node";

const node = (name: string, score: number, more: Partial<HostNode> = {}) =>
  ({ name, score, eligible: true, local: false, project: "home", state: "healthy", desiredState: "active", ...more }) as HostNode;

test("one node of each project is next: the lowest score, ties by name", () => {
  const nodes = [node("b", 1), node("a", 1), node("full", 0, { eligible: false }), node("here", 0, { local: true }), node("c", 9, { project: "lab" })];
  expect(nodes.filter((one) => isNext(one, nodes)).map((one) => one.name)).toEqual(["a", "c"]);
});

test("an administrator's wish is shown before the age of the reports", () => {
  expect(state(node("a", 1, { state: "lost" }))).toBe("lost");
  expect(state(node("a", 1, { state: "lost", desiredState: "draining" }))).toBe("draining");
});
