import { expect, test } from "vitest";
import type { HostNode, NodeInterface } from "../../api/types";
import { interfaceChanges, interfaceForm, interfaceProblem, interfaceWarning, isNext, obstacle, progress, state } from "./node";

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

const wg0: NodeInterface = {
  interfaceId: "i",
  name: "wg0",
  listenPort: 51820,
  endpoint: "a.example:51820",
  publicKey: "key",
  mtu: 1280,
  dns: ["10.42.0.1"],
  keepalive: 25,
  pools: ["10.77.0.0/24"],
  generation: 7,
  acknowledgedGeneration: 7,
  error: null,
  drift: [],
};

test("the form of an interface sends what was changed, and an empty endpoint as none", () => {
  const form = interfaceForm("b.example:51820", wg0);
  expect(interfaceChanges(form, form, false)).toEqual({});
  expect(interfaceChanges({ ...form, endpoint: " ", dns: "10.42.0.1 9.9.9.9", listenPort: "51821" }, form, false)).toEqual({
    endpoint: null,
    dns: ["10.42.0.1", "9.9.9.9"],
    listenPort: 51821,
  });
  const empty = interfaceForm("b.example:51820");
  const fresh = { ...empty, name: "wg1", cidr: "10.8.0.0/24" };
  expect(interfaceChanges(fresh, empty, true)).toEqual({ listenPort: 51820, endpoint: null, mtu: 1280, dns: [], keepalive: 25, cidr: "10.8.0.0/24" });
});

test("what the gateway would refuse for sure is named before it is sent", () => {
  expect(interfaceProblem(interfaceForm("", wg0))).toBeNull();
  const wrong = [{ name: "WG 0" }, { listenPort: "0" }, { listenPort: "70000" }, { mtu: "1200" }, { keepalive: "-1" }, { endpoint: "a:1\nPostUp = x" }];
  for (const field of wrong) expect(interfaceProblem({ ...interfaceForm("", wg0), ...field }), JSON.stringify(field)).not.toBeNull();
});

test("the command at the end of an obstacle can be copied by itself", () => {
  expect(obstacle("this machine has no IPv6, so peers have IPv4 only: sysctl -w net.ipv6.conf.all.disable_ipv6=0")).toEqual({
    text: "this machine has no IPv6, so peers have IPv4 only",
    command: "sysctl -w net.ipv6.conf.all.disable_ipv6=0",
  });
  const release = "nebula 1.9 drops packets: install nebula 1.10 or newer";
  expect(obstacle(release)).toEqual({ text: release, command: null });
});

test("an interface says how far its agent is behind", () => {
  expect(progress(wg0)).toBe("as wanted");
  expect(progress({ ...wg0, generation: 9 })).toBe("2 changes are not confirmed");
  expect(progress({ ...wg0, publicKey: null, generation: 9 })).toBe("not reported yet");
});

test("an endpoint whose port is not the one that the interface listens on is pointed out", () => {
  const form = interfaceForm("a.example:51820", wg0);
  expect(form.endpoint).toBe("");
  expect(interfaceWarning(form, "a.example:51820")).toBeNull();
  expect(interfaceWarning({ ...form, listenPort: "51999" }, "a.example:51820")).toContain("a.example:51820");
  expect(interfaceWarning({ ...form, listenPort: "51999", endpoint: "[2001:db8::1]:51999" }, "a.example:51820")).toBeNull();
  // Others than wg0 have their own port on the node's host.
  const wg1 = { ...wg0, name: "wg1", listenPort: 51821, endpoint: "a.example:51821" };
  expect(interfaceForm("a.example:51820", wg1).endpoint).toBe("");
  expect(interfaceWarning({ ...interfaceForm("a.example:51820", wg1), listenPort: "51999" }, "a.example:51820")).toBeNull();
});
