import { expect, test } from "vitest";
import { facts, objectOf, verb } from "./event";

test("known actions are told in words, and others as they are recorded", () => {
  expect(verb({ action: "revoke", subject: "device" })).toBe("revoked the device");
  expect(verb({ action: "set-limit", subject: "quota" })).toBe("set limit quota");
});

test("the object is named where the record names it, whatever else the record holds", () => {
  expect(objectOf({ detail: { name: "laptop", ip: "10.0.0.1" } })).toBe("laptop");
  expect(objectOf({ detail: { name: "", username: "ada" } })).toBe("ada");
  expect([objectOf({ detail: null }), objectOf({ detail: "text" }), objectOf({ detail: { name: 7 } })]).toEqual(["", "", ""]);
  expect(facts({ detail: { ip: "10.0.0.1", groups: ["a"], note: "", none: null } })).toEqual([["ip", "10.0.0.1"], ["groups", '["a"]']]);
});
