import { expect, test } from "vitest";
import { sizesOf } from "./stream";

test("each size is offered once, the largest first, after the one that follows the line", () => {
  const levels = [480, 480, 1080, 720].map((height) => ({ height, bitrate: height * 1000 }));
  expect(sizesOf(levels)).toEqual([
    { id: -1, label: "Auto" },
    { id: 2, label: "1080p" },
    { id: 3, label: "720p" },
    { id: 0, label: "480p" },
  ]);
});
