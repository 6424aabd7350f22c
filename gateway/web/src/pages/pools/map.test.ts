import { expect, test } from "vitest";
import type { PoolMap } from "../../api/types";
import { addressOf, numberOf, squares } from "./map";

const map = (more: Partial<PoolMap>): PoolMap => ({ poolId: 1, projectId: "p", name: "default", cidr: "10.42.0.0/16", gateway: null, prefix: "10.42.0.0/16", cellLength: 24, cells: [], reservations: [], ...more });

test("addresses of both families are numbers and back", () => {
  expect(addressOf(numberOf("10.42.1.255"), 32)).toBe("10.42.1.255");
  expect(numberOf("fd00::1:0")).toBe(numberOf("fd00:0:0:0:0:0:1:0"));
  expect(addressOf(numberOf("fd00::1:0"), 128)).toBe("fd00:0:0:0:0:0:1:0");
});

test("a network is at most 256 squares, shaded by their use", () => {
  const all = squares(map({ cells: [{ cidr: "10.42.3.0/24", held: 1, quarantined: 0, deviceId: null, name: null }, { cidr: "10.42.4.0/24", held: 250, quarantined: 6, deviceId: null, name: null }] }));
  expect([all.length, all[3]?.cidr, all[2]?.shade, all[3]?.shade, all[4]?.shade]).toEqual([256, "10.42.3.0/24", 0, 1, 5]);
});

test("down to single addresses, with the name of who has one and what is reserved", () => {
  const cells = [{ cidr: "10.42.3.7", held: 1, quarantined: 0, deviceId: "d", name: "nas" }];
  const reservations = [{ label: "routers", first: "10.42.3.1", last: "10.42.3.2", forGroup: false, reason: null }];
  const all = squares(map({ prefix: "10.42.3.0/24", cellLength: 32, cells, reservations }));
  expect([all.length, all[7]?.name, all[7]?.shade]).toEqual([256, "nas", 5]);
  expect(all.filter((one) => one.isReserved).map((one) => one.cidr)).toEqual(["10.42.3.1/32", "10.42.3.2/32"]);
  expect(squares(map({ prefix: "10.42.3.0/30", cellLength: 32 })).length).toBe(4);
});
