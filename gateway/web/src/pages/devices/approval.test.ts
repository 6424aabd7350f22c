import { expect, test } from "vitest";
import { requestIn } from "./approval";

test("only the number of a request is taken from an address", () => {
  const number = "0f".repeat(32);
  expect(requestIn(`?approve=${number}`)).toBe(number);
  for (const query of ["", "?approve=", "?approve=c0ffee", `?approve=${"x".repeat(64)}`, `?other=${number}`, `?approve=${number}/../x`]) {
    expect(requestIn(query), query).toBeNull();
  }
});
