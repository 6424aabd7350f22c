import { expect, test } from "vitest";
import { capabilities, explained } from "./capabilities";

test("a codec is named if the element or a media source plays it, a container only if the element does", () => {
  const old = capabilities(null, (type) => (type.startsWith("video/mp4") && !type.includes("hvc1") && !type.includes("av01") ? "maybe" : ""));
  expect(old.containers).toEqual(["mp4"]);
  expect(old.video.map((one) => one.codec)).toEqual(["h264", "h264"]);
  expect(old.audio).toEqual([]);
  expect(old.hls).toBe(false);
  const streaming = capabilities((type) => type.includes("mp4a") || type.includes("hvc1.2"), () => "");
  expect(streaming.containers).toEqual([]);
  expect(streaming.video).toEqual([{ codec: "hevc", profiles: ["Main", "Main 10"], maxLevel: 5.1, maxBitDepth: 10 }]);
  expect(streaming.hls).toBe(true);
});

test("a decision is told in words, each reason once", () => {
  expect(explained("direct", [])).toBe("Plays as it was uploaded");
  expect(explained("full", ["videoCodec", "videoProfile", "unheardOf"])).toBe("With another picture: this browser does not decode its picture");
});
