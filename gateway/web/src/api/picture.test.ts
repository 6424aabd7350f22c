import { expect, test } from "vitest";
import { pictureBy } from "./picture";

test("the token of a link opens the pictures of its file", () => {
  const poster = (link: string) => pictureBy(link)("poster");
  expect(poster("/api/files/7/hls/master.m3u8?token=a.b")).toBe("/api/files/7/poster?token=a.b");
  expect(poster("/api/files/7/content?token=a.b&download=1")).toBe("/api/files/7/poster?token=a.b");
  expect(poster("")).toBe("");
});
