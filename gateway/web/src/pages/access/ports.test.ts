import { expect, test } from "vitest";
import { portsIn } from "./ports";

test("a port, a range or nothing is taken, and nothing else", () => {
  expect(portsIn("")).toEqual({ first: null, last: null });
  expect(portsIn(" 22 ")).toEqual({ first: 22, last: 22 });
  expect(portsIn("8000 - 8010")).toEqual({ first: 8000, last: 8010 });
  expect(["0", "65536", "9-1", "ssh", "1-", "22 80"].map(portsIn)).toEqual([null, null, null, null, null, null]);
});
