import { expect, it } from "vitest";
import type { StoredFile } from "../../api/types";
import { shownAs } from "./media";

const file = (state: StoredFile["state"], contentType: string, ...renditions: string[]) =>
  ({ state, contentType, renditions: renditions.map((one) => ({ kind: "web", contentType: one })) }) as StoredFile;

it.each([
  [file("ready", "video/x-matroska", "video/mp4"), "video"],
  [file("ready", "video/x-matroska", "audio/mp4"), "audio"],
  [file("ready", "image/png"), "image"],
  [file("ready", "application/pdf"), null],
  [file("processing", "video/mp4"), "video"],
  [file("processing", "audio/mpeg"), null],
  [file("failed", "video/x-matroska"), null],
])("%o is shown as %s", (stored, shown) => expect(shownAs(stored)).toBe(shown));
