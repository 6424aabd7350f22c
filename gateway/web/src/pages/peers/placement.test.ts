import { expect, test } from "vitest";
import type { EnabledNode } from "../../api/types";
import { AUTO, LOCAL, next, places } from "./placement";

const node = (name: string, score: number, more: Partial<EnabledNode> = {}): EnabledNode => ({
  nodeId: name,
  name,
  state: "healthy",
  activePeers: 30,
  maxPeers: 100,
  score,
  eligible: true,
  reason: null,
  local: false,
  ...more,
});

test("auto names the eligible node with the lowest score, ties by name, never this server", () => {
  const nodes = [node("c", 0.003), node("b", 0.003), node("full", 0.001, { eligible: false, reason: "full" }), node("here", 0, { local: true })];
  expect(next(nodes)?.name).toBe("b");
  expect(places(nodes)[0]?.help).toBe("b now: 30 of 100 peers, the lowest score. Decided when you save.");
});

test("auto and local stay possible when the nodes cannot be read", () => {
  expect(places(null).map((place) => [place.value, place.disabled])).toEqual([
    [AUTO, false],
    [LOCAL, false],
  ]);
});

test("a node that takes no peers is shown with the reason and cannot be chosen", () => {
  const [, , full] = places([node("full", 1, { eligible: false, reason: "full" })]);
  expect(full).toMatchObject({ value: "node:full", label: "full (full)", disabled: true });
  expect(places([node("full", 1, { eligible: false, reason: "full" })])[0]?.help).toContain("full: full");
});

test("without nodes auto says that this server serves the peer", () => {
  expect(places([])[0]?.help).toContain("this server serves it");
  expect(places([node("here", 0, { local: true })])[0]?.help).toContain("this server serves it");
});

test("this server is no remote node, and the node that a peer is on is left out of a move", () => {
  const nodes = [node("a", 1), node("b", 2), node("here", 0, { local: true })];
  expect(places(nodes).map((place) => place.value)).toEqual([AUTO, LOCAL, "node:a", "node:b"]);
  expect(places(nodes, "a").map((place) => place.value)).toEqual([AUTO, LOCAL, "node:b"]);
});
