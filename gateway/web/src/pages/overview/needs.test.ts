import { expect, test } from "vitest";
import type { Authority, HostNode, PoolUsage, System } from "../../api/types";
import type { Row } from "../devices/device";
import { needs, type Known } from "./needs";

const NOW = Date.parse("2026-11-30T12:00:00Z");
const row = (more: Partial<Row>): Row => ({ name: "laptop", role: "host", state: "online", nebulaIp: "10.0.0.2", revokedAt: null, certificateNotAfter: "2027-06-01T00:00:00Z", groups: [], ...more }) as Row;
const lighthouse = row({ name: "door", role: "lighthouse" });
const texts = (more: Partial<Known>) => needs({ devices: [], nodes: [], pools: [], jobs: [], authorities: [], system: null, now: NOW, ...more }).map((one) => one.text);

test("a healthy network needs nobody", () => {
  const pool = { name: "default", enabled: true, free: "200", size: "254" } as PoolUsage;
  const authority = { name: "CA", daysLeft: 300, projects: ["home"] } as Authority;
  expect(texts({ devices: [lighthouse, row({})], pools: [pool], authorities: [authority] })).toEqual([]);
});

test("what does not work comes before what soon will not", () => {
  const pool = { name: "default", enabled: true, free: "10", size: "254" } as PoolUsage;
  const expired = row({ name: "tablet", certificateNotAfter: "2026-11-29T00:00:00Z" });
  expect(texts({ devices: [lighthouse, expired], pools: [pool] })).toEqual(["The certificate of tablet has expired", "The pool default is 96 % full"]);
});

test("devices that nobody finds, lost nodes and full disks are told", () => {
  expect(texts({ devices: [row({})] })).toEqual(["No lighthouse: devices do not find each other"]);
  const silent = { ...lighthouse, state: "silent" as const };
  expect(texts({ devices: [silent] })[0]).toMatch(/^No lighthouse was heard/);
  const node = { name: "node2", state: "lost", desiredState: "active", seenAt: "2026-11-30T11:56:00Z", interfaces: [] } as unknown as HostNode;
  expect(texts({ nodes: [node, { ...node, desiredState: "disabled" }] })).toEqual(["The node node2 was last heard 4 min ago"]);
  const system = { disks: [{ name: "storage", size: 100, free: 5, reserve: 10 }], power: null, storage: null } as unknown as System;
  expect(texts({ system })[0]).toMatch(/^The disk of the storage has 5 B left/);
});
