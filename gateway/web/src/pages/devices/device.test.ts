import { expect, test } from "vitest";
import type { Device } from "../../api/types";
import { rowsOf, sorted, stateOf } from "./device";

const NOW = Date.parse("2026-11-30T12:00:00Z");
const device = (more: Partial<Device>): Device =>
  ({ deviceId: "1", name: "laptop", nebulaIp: "10.42.0.9", lastSeenAt: null, revokedAt: null, certificateNotAfter: null, ...more }) as Device;

test("a device is online while its agent is heard, and what was done to it comes before", () => {
  const heard = (time: string) => stateOf(device({ lastSeenAt: time }), NOW);
  expect(heard("2026-11-30T11:56:00Z")).toBe("online");
  expect(heard("2026-11-30T11:50:00Z")).toBe("late");
  expect(heard("2026-11-30T11:00:00Z")).toBe("silent");
  expect(stateOf(device({}), NOW)).toBe("silent");
  expect(stateOf(device({ nebulaIp: null }), NOW)).toBe("released");
  expect(stateOf(device({ nebulaIp: null, revokedAt: "2026-11-30T11:59:00Z", lastSeenAt: "2026-11-30T11:59:00Z" }), NOW)).toBe("revoked");
});

test("a device with an address of each family is one row", () => {
  const rows = rowsOf([device({}), device({ nebulaIp: "fd00::9" }), device({ deviceId: "2", nebulaIp: null })], NOW);
  expect(rows.map((row) => [row.deviceId, row.addresses])).toEqual([["1", ["10.42.0.9", "fd00::9"]], ["2", []]]);
});

test("addresses sort by number, in both directions", () => {
  const rows = rowsOf(["10.42.0.10", "10.42.0.9", "10.42.0.100"].map((nebulaIp) => device({ deviceId: nebulaIp, nebulaIp })), NOW);
  const order = (by: string) => sorted(rows, by).map((row) => row.nebulaIp);
  expect(order("address")).toEqual(["10.42.0.9", "10.42.0.10", "10.42.0.100"]);
  expect(order("-address")).toEqual(["10.42.0.100", "10.42.0.10", "10.42.0.9"]);
});
