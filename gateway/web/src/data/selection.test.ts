import { expect, test } from "vitest";
import { ref } from "vue";
import { Failure } from "../api/failure";
import { selection } from "./selection";

const items = ref([{ peerId: "a" }, { peerId: "b" }, { peerId: "c" }]);

test("those that failed stay selected, with their reasons, until something else is selected", () => {
  const chosen = selection(() => items.value, (one) => one.peerId);
  chosen.set(items.value);
  chosen.settle(new Map([["b", new Failure(409, "no node has room")]]));
  expect(chosen.chosen.value).toEqual([{ peerId: "b" }]);
  expect(chosen.reasons.value.get("b")).toBe("No node has room.");
  chosen.set([]);
  expect([chosen.chosen.value.length, chosen.reasons.value.size]).toEqual([0, 0]);
});

test("what is gone is not selected any more", () => {
  const chosen = selection(() => items.value, (one) => one.peerId);
  chosen.toggle("a");
  chosen.toggle("c");
  chosen.toggle("c");
  expect(chosen.chosen.value).toEqual([{ peerId: "a" }]);
  items.value = items.value.filter((one) => one.peerId !== "a");
  expect(chosen.chosen.value).toEqual([]);
});
