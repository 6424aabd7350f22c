import { expect, test } from "vitest";
import { fromDrop, fromInput, type Entry } from "./chosen";

const file = (name: string, path = "") => Object.defineProperty(new File(["x"], name), "webkitRelativePath", { value: path });
const single = (name: string): Entry => ({ isDirectory: false, name, file: (found) => found(new File(["x"], name)) });
const unreadable = (name: string): Entry => ({ isDirectory: false, name, file: (_, failed) => failed(new Error("gone")) });

/** Hands out its entries a few at a time, as browsers do. */
function directory(name: string, entries: Entry[], atOnce = 2): Entry {
  const createReader = () => {
    let at = 0;
    return { readEntries: (found: (some: Entry[]) => void) => found(entries.slice(at, (at += atOnce))) };
  };
  return { isDirectory: true, name, createReader };
}

const item = (entry: Entry) =>
  ({ webkitGetAsEntry: () => entry, getAsFile: () => (entry.isDirectory ? null : new File(["x"], entry.name)) }) as unknown as DataTransferItem;
const paths = (chosen: { file: File; folder: string }[]) => chosen.map(({ file, folder }) => `${folder}|${file.name}`);

test("a folder that is chosen keeps its name and all below it, without hidden files", () => {
  const chosen = fromInput([file("a.mkv", "Films/a.mkv"), file("b.mkv", "Films/Old/b.mkv"), file(".DS_Store", "Films/.DS_Store"), file("c", "Films/.git/c")]);
  expect(paths(chosen)).toEqual(["Films|a.mkv", "Films/Old|b.mkv"]);
  expect(paths(fromInput([file(".profile")]))).toEqual(["|.profile"]);
  expect(paths(fromInput([file("a", ".config/a")]))).toEqual([".config|a"]);
});

test("folders that are dropped are walked to their end, beside single files", async () => {
  const films = directory("Films", [single("c"), single("a"), directory("Old", [single("d"), directory("Empty", [])]), single(".DS_Store"), single("b")]);
  const dropped = await fromDrop([item(single("x")), item(films)]);
  expect(paths(dropped.files)).toEqual(["|x", "Films/Old|d", "Films|a", "Films|b", "Films|c"]);
  expect(dropped.unread).toEqual([]);
});

test("what cannot be read is named and keeps nothing else from being taken", async () => {
  const broken: Entry = { isDirectory: true, name: "Broken", createReader: () => ({ readEntries: (_, failed) => failed(new Error("denied")) }) };
  const dropped = await fromDrop([item(directory("Films", [unreadable("gone"), single("a"), broken]))]);
  expect(paths(dropped.files)).toEqual(["Films|a"]);
  expect(dropped.unread).toEqual(["Films/Broken", "Films/gone"]);
});
