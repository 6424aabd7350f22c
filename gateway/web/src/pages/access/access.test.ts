import { expect, test } from "vitest";
import type { Rule } from "../../api/types";
import { matrix, portsOf, reachedBy, reaches, summary } from "./access";

const rule = (more: Partial<Rule>): Rule => ({ projectId: "p", direction: "inbound", protocol: "any", note: "", ...more });
const ssh = rule({ forGroup: "servers", protocol: "tcp", portFirst: 22, portLast: 22, remoteGroups: ["family"] });
const laptop = { deviceId: "laptop", groups: ["family"] };
const nas = { deviceId: "nas", groups: ["servers"] };

test("ports are written as people say them", () => {
  expect([ssh, rule({}), rule({ protocol: "udp", portFirst: 1, portLast: 9 }), rule({ protocol: "icmp" }), rule({ protocol: "tcp" })].map(portsOf)).toEqual([
    "tcp 22",
    "everything",
    "udp 1–9",
    "ping",
    "all tcp",
  ]);
});

test("a rule reaches from the devices of all its groups to those that it is for, and never back", () => {
  expect([reaches([ssh], laptop), reachedBy([ssh], nas)]).toEqual([[ssh], [ssh]]);
  expect([reaches([ssh], nas), reachedBy([ssh], laptop)]).toEqual([[], []]);
  const both = rule({ remoteGroups: ["family", "adults"] });
  expect(reaches([both], laptop)).toEqual([]);
  expect(reaches([rule({ remoteCidr: "10.0.0.0/8" })], laptop)).toEqual([]);
});

test("the matrix has a cell per pair of groups, those of the same group and of any device too", () => {
  const cells = matrix([ssh, rule({ protocol: "icmp" })], ["family", "servers"]);
  const text = cells.map((row) => row.map((cell) => summary(cell.rules)));
  expect(text).toEqual([
    ["ping", "tcp 22, ping", "ping"],
    ["ping", "ping", "ping"],
    ["ping", "ping", "ping"],
  ]);
  // Rules of single devices are not those of groups.
  expect(matrix([rule({ forDevice: "nas" })], ["family"])[0]?.[0]?.rules).toEqual([]);
});
