import { expect, test } from "vitest";
import { changesOf, formOf } from "./options";

const before = formOf({ mtu: 1300, lifetimeSeconds: 30 * 86_400, dnsDomain: "home.arpa", punchy: true });

test("only what was changed is sent, and an emptied option is unset", () => {
  expect(changesOf(before, before)).toEqual({});
  expect(changesOf({ ...before, mtu: "1400", days: "", dnsDomain: " ", punchy: false }, before)).toEqual({ mtu: 1400, lifetimeSeconds: 0, dnsDomain: "", punchy: false });
});
