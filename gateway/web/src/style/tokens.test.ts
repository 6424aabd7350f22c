import { expect, test } from "vitest";

/** Of Node, whose types are not installed. */
type Files = { readFileSync: (path: string, encoding: "utf8") => string };
const { readFileSync } = (await import(String("node:fs"))) as Files;
const css = readFileSync(new URL("./tokens.css", import.meta.url).pathname, "utf8");

/** The tokens of a theme. */
const tokens = (selector: string) =>
  Object.fromEntries([...(css.split(`${selector} {`)[1]?.split("\n}")[0] ?? "").matchAll(/--([\w-]+): (#[0-9a-f]{6});/g)].map(([, name, value]) => [name, value]));

const channel = (value: number) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
const luminance = (hex: string) => {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => channel(parseInt(hex.slice(at, at + 2), 16) / 255));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};
/** The ratio of WCAG 2.2. */
const contrast = (one: string, other: string) => {
  const [high = 0, low = 0] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (high + 0.05) / (low + 0.05);
};

/** Text is read at 4.5, and edges of controls, icons and lines of charts are seen at 3. */
const TEXT = ["text", "muted", "accent", "accent-strong", "good", "warn", "bad", "info"].flatMap((ink) => ["surface", "ground"].map((paper) => [ink, paper]));
const SOFT = ["accent", "good", "warn", "bad", "info"].map((ink) => [ink, `${ink}-soft`]);
const SUNKEN = [["text", "sunken"], ["muted", "sunken"], ["on-accent", "accent"], ["on-bad", "bad"], ["on-screen", "screen"]];
const SEEN = ["line-strong", "series-1", "series-2", "series-3", "series-4"].map((ink) => [ink, "surface"]);

test.each([":root", ':root[data-theme="dark"]'])("text and edges have the contrast that people need in %s", (selector) => {
  const all = { ...tokens(":root"), ...tokens(selector) };
  const ratio = ([ink = "", paper = ""]: string[]) => ({ pair: `${ink} on ${paper}`, ratio: contrast(all[ink] ?? "", all[paper] ?? "") });
  expect([...TEXT, ...SOFT, ...SUNKEN].map(ratio).filter((one) => !(one.ratio >= 4.5))).toEqual([]);
  expect(SEEN.map(ratio).filter((one) => !(one.ratio >= 3))).toEqual([]);
});
