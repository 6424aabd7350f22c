import { expect, test } from "vitest";
import { playlistFor } from "./m3u";

test("a playlist begins where the film was left, and a name adds no lines", () => {
  expect(playlistFor("a\nb.mkv", "http://x/y?token=z", 61.25)).toBe("#EXTM3U\n#EXTINF:-1,a b.mkv\n#EXTVLCOPT:start-time=61.3\nhttp://x/y?token=z\n");
  expect(playlistFor("c", "http://x", null)).toBe("#EXTM3U\n#EXTINF:-1,c\nhttp://x\n");
});
