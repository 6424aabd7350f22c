import { expect, test } from "vitest";
import type { Row } from "../devices/device";
import { HEIGHT, place } from "./place";

const WIDTH = 800;

const row = (name: string, group: string | null, role: Row["role"] = "host") =>
  ({ deviceId: name, name, role, groups: group ? [group] : [], registeredAt: name }) as Row;

test("a device stays where it is when others join its group", () => {
  const before = place([row("a", "family"), row("b", "family"), row("x", "servers")], WIDTH);
  const after = place([row("a", "family"), row("b", "family"), row("c", "family"), row("x", "servers")], WIDTH);
  const spot = (places: typeof before, name: string) => places.groups.flatMap((disc) => disc.spots).find((one) => one.row.name === name);
  expect(spot(after, "a")).toEqual(spot(before, "a"));
  expect(spot(after, "b")).toEqual(spot(before, "b"));
});

test("everything is inside the picture, however many there are, and no two are in the same place", () => {
  const rows = Array.from({ length: 300 }, (_, n) => row(`d${String(n).padStart(3, "0")}`, n % 7 ? `group-${n % 7}` : null));
  const spots = place([row("door", null, "lighthouse"), ...rows], WIDTH).groups.flatMap((disc) => disc.spots);
  expect(spots.length).toBe(300);
  expect(spots.every(({ x, y }) => x > 0 && x < WIDTH && y > 0 && y < HEIGHT)).toBe(true);
  const nearest = Math.min(...spots.flatMap((one, n) => spots.slice(n + 1).map((other) => Math.hypot(one.x - other.x, one.y - other.y))));
  expect(nearest).toBeGreaterThan(4);
});

test("ten thousand devices are placed within a frame or two", () => {
  const rows = Array.from({ length: 10_000 }, (_, n) => row(`d${n}`, `group-${n % 12}`));
  const begin = performance.now();
  place(rows, WIDTH);
  expect(performance.now() - begin).toBeLessThan(500);
});
