import { expect, test } from "vitest";
import { programOf } from "./program";

test("browsers are named with their system, other programs as they name themselves", () => {
  expect(programOf("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0 Safari/537.36")).toBe("Chrome on Linux");
  expect(programOf("Mozilla/5.0 (iPhone; CPU iPhone OS 18 like Mac OS X) Version/18.0 Safari/604.1")).toBe("Safari on iOS");
  expect([programOf("nebulactl/0.3.0 (Linux)"), programOf(null)]).toEqual(["nebulactl/0.3.0", ""]);
});
