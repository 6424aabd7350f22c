import { expect, test } from "vitest";
import { parseMaster } from "./playlist";

const TEXT = `#EXTM3U
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="sound2",NAME="German",LANGUAGE="de",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2",URI="a0.m3u8?token=x"
#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="subtitles",NAME="Commentary, short",LANGUAGE="en",DEFAULT=NO,FORCED=NO,URI="subtitle-0.m3u8?token=x"
#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="subtitles",NAME="Untertitel",DEFAULT=NO,FORCED=NO,URI="subtitle-1.m3u8?token=x"
#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS="avc1",RESOLUTION=853x480,AUDIO="sound2",SUBTITLES="subtitles"
v480.m3u8?token=x
#EXT-X-STREAM-INF:BANDWIDTH=2,CODECS="avc1",RESOLUTION=1920x1080,AUDIO="sound2"
v1080.m3u8?token=x
#EXT-X-STREAM-INF:BANDWIDTH=2,CODECS="avc1",RESOLUTION=1920x1080,AUDIO="sound6"
v1080.m3u8?token=x
`;

test("sizes are told once each, the largest first, and subtitles with the address of their whole file", () => {
  expect(parseMaster(TEXT, "/api/files/7/hls/master.m3u8?token=x", "http://gateway:8080")).toEqual({
    heights: [1080, 480],
    subtitles: [
      { url: "http://gateway:8080/api/files/7/hls/subtitle-0.vtt?token=x", label: "Commentary, short", language: "en" },
      { url: "http://gateway:8080/api/files/7/hls/subtitle-1.vtt?token=x", label: "Untertitel", language: "" },
    ],
  });
});

test("a film without subtitles has none, and sound alone has no sizes", () => {
  expect(parseMaster("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\na0.m3u8\n", "/m", "http://x")).toEqual({ heights: [], subtitles: [] });
});
