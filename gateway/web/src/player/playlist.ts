// The master playlist of a film: which sizes and subtitles it has by now. hls.js reads it once; subtitles that are made later are found
// by reading it again.

export interface SubtitleTrack {
  /** URL of the whole WebVTT file. */
  url: string;
  label: string;
  /** Tag of RFC 5646; empty: unknown. */
  language: string;
}

export interface Master {
  /** Pixels, the largest first. */
  heights: number[];
  subtitles: SubtitleTrack[];
}

const attribute = (line: string, name: string) => line.match(new RegExp(`[:,]${name}="([^"]*)"`))?.[1] ?? "";

export function parseMaster(text: string, path: string, origin: string): Master {
  const base = new URL(path, origin);
  const lines = text.split("\n");
  const heights = lines.flatMap((line) => line.match(/^#EXT-X-STREAM-INF:.*RESOLUTION=\d+x(\d+)/)?.[1] ?? []).map(Number);
  const subtitles = lines
    .filter((line) => line.startsWith("#EXT-X-MEDIA:TYPE=SUBTITLES"))
    .map((line) => ({
      // The playlist of a subtitle names one file beside it.
      url: new URL(attribute(line, "URI").replace(".m3u8", ".vtt"), base).href,
      label: attribute(line, "NAME"),
      language: attribute(line, "LANGUAGE"),
    }));
  return { heights: [...new Set(heights)].sort((one, other) => other - one), subtitles };
}

export async function readMaster(path: string): Promise<Master> {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`the playlist was refused: ${answer.status}`);
  return parseMaster(await answer.text(), path, window.location.origin);
}
