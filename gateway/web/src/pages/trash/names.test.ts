import { expect, it } from "vitest";
import { free } from "./names";

it.each([
  ["a.txt", [], "a.txt"],
  ["a.txt", ["a.txt"], "a (2).txt"],
  ["a.b.txt", ["a.b.txt", "a.b (2).txt"], "a.b (3).txt"],
  ["notes", ["notes"], "notes (2)"],
  [".profile", [".profile"], ".profile (2)"],
])("%s beside %o becomes %s", (name, taken, wanted) => expect(free(name, taken)).toBe(wanted));
