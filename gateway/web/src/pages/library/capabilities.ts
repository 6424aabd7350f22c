// Abilities of this browser, as the gateway asks for them to decide how a film is played.
import type { Capabilities } from "../../api/types";

/** Codecs of pictures: name, profiles, highest level, bits, and how a browser is asked for them. */
const PICTURES: { codec: string; profiles?: string[]; maxLevel?: number; maxBitDepth?: number; type: string }[] = [
  { codec: "h264", profiles: ["Constrained Baseline", "Baseline", "Main", "High"], maxLevel: 5.2, type: 'video/mp4; codecs="avc1.640034"' },
  { codec: "h264", profiles: ["Constrained Baseline", "Baseline", "Main", "High"], maxLevel: 5.1, type: 'video/mp4; codecs="avc1.640033"' },
  { codec: "hevc", profiles: ["Main"], maxLevel: 5.1, type: 'video/mp4; codecs="hvc1.1.6.L153.B0"' },
  { codec: "hevc", profiles: ["Main", "Main 10"], maxLevel: 5.1, maxBitDepth: 10, type: 'video/mp4; codecs="hvc1.2.4.L153.B0"' },
  { codec: "vp8", type: 'video/webm; codecs="vp8"' },
  { codec: "vp9", type: 'video/webm; codecs="vp09.00.51.08"' },
  { codec: "vp9", maxBitDepth: 10, type: 'video/webm; codecs="vp09.02.51.10"' },
  { codec: "av1", maxLevel: 5.1, type: 'video/mp4; codecs="av01.0.13M.08"' },
  { codec: "av1", maxLevel: 5.1, maxBitDepth: 10, type: 'video/mp4; codecs="av01.0.13M.10"' },
];
const SOUNDS: { codec: string; type: string }[] = [
  { codec: "aac", type: 'audio/mp4; codecs="mp4a.40.2"' },
  { codec: "opus", type: 'audio/webm; codecs="opus"' },
  { codec: "vorbis", type: 'audio/webm; codecs="vorbis"' },
  { codec: "flac", type: 'audio/mp4; codecs="flac"' },
  { codec: "mp3", type: "audio/mpeg" },
  { codec: "ac3", type: 'audio/mp4; codecs="ac-3"' },
  { codec: "eac3", type: 'audio/mp4; codecs="ec-3"' },
];
const CONTAINERS: Record<string, string> = { mp4: "video/mp4", webm: "video/webm", mp3: "audio/mpeg", ogg: "audio/ogg", flac: "audio/flac", wav: "audio/wav" };

/** `canStream`: what media source extensions take; `canPlay`: what the element plays by itself. */
export function capabilities(canStream: ((type: string) => boolean) | null, canPlay: (type: string) => string): Capabilities {
  const plays = (type: string) => canPlay(type) !== "" || (canStream?.(type) ?? false);
  return {
    containers: Object.entries(CONTAINERS).flatMap(([name, type]) => (canPlay(type) === "" ? [] : [name])),
    video: PICTURES.flatMap(({ type, ...known }) => (plays(type) ? [known] : [])),
    audio: SOUNDS.flatMap(({ codec, type }) => (plays(type) ? [{ codec }] : [])),
    hls: canPlay("application/vnd.apple.mpegurl") !== "" || (canStream?.('video/mp4; codecs="avc1.42E01E,mp4a.40.2"') ?? false),
  };
}

export function ofThisBrowser(): Capabilities {
  const element = document.createElement("video");
  const source = "MediaSource" in window ? (type: string) => MediaSource.isTypeSupported(type) : null;
  return capabilities(source, (type) => element.canPlayType(type));
}

/** Reasons in words, in the order in which they count. */
const WORDS: Record<string, string> = {
  container: "this browser does not read its container",
  videoCodec: "this browser does not decode its picture",
  videoProfile: "this browser does not decode its picture",
  videoLevel: "its picture is too large for this browser",
  videoBitDepth: "its colours have more bits than this browser shows",
  videoPixelFormat: "its colours are kept in a way that this browser does not show",
  videoHeight: "its picture is too high",
  videoInterlaced: "its picture is interlaced",
  videoHdr: "it has high dynamic range",
  audioCodec: "this browser does not decode its sound",
  audioChannels: "its sound has more channels than this browser plays",
  uploadUnknown: "it was not looked at yet",
};
const CHANGED: Record<string, string> = { direct: "Plays as it was uploaded", remux: "In another container", audio: "With another sound", full: "With another picture" };

export function explained(decision: string, reasons: string[]): string {
  const why = [...new Set(reasons.flatMap((reason) => WORDS[reason] ?? []))];
  const what = CHANGED[decision] ?? "";
  return why.length > 0 ? `${what}: ${why.join(", ")}` : what;
}
