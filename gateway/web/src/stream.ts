// Playing the streams of a film: the size follows the line, unless the viewer chooses one.
import type Hls from "hls.js";

export interface Choice {
  /** -1: the best that the line takes, or none. */
  id: number;
  label: string;
}

export interface Choices {
  sizes: Choice[];
  sounds: Choice[];
  subtitles: Choice[];
}

/** A film that is being streamed into a video element. */
export interface Stream {
  choices(): Choices;
  /** Pixels of the height that is shown now, or null before the first picture. */
  height(): number | null;
  /** The choices that hold now. */
  sound(): number;
  subtitles(): number;
  chooseSize(id: number): void;
  chooseSound(id: number): void;
  chooseSubtitles(id: number): void;
  end(): void;
}

export function sizesOf(levels: { height: number; bitrate: number }[]): Choice[] {
  // A size is there once for each number of channels.
  const seen = new Map<number, number>();
  levels.forEach((level, index) => seen.has(level.height) || seen.set(level.height, index));
  const sizes = [...seen].sort(([one], [other]) => other - one);
  return [{ id: -1, label: "Auto" }, ...sizes.map(([height, id]) => ({ id, label: `${height}p` }))];
}

/** Begins to stream; `changed` is called when the choices change, `failed` when nothing helps any more. */
export async function stream(video: HTMLVideoElement, path: string, changed: () => void, failed: (why: string) => void): Promise<Stream | null> {
  const { default: Hls } = await import("hls.js");
  if (!Hls.isSupported()) {
    // Safari on iPhones plays playlists itself, with choices of its own.
    if (!video.canPlayType("application/vnd.apple.mpegurl")) return null;
    video.src = path;
    return null;
  }
  const hls: Hls = new Hls({ enableWorker: true });
  const { Events, ErrorTypes } = Hls;
  for (const event of [Events.MANIFEST_PARSED, Events.LEVEL_SWITCHED, Events.AUDIO_TRACKS_UPDATED, Events.SUBTITLE_TRACKS_UPDATED, Events.AUDIO_TRACK_SWITCHED, Events.SUBTITLE_TRACK_SWITCH])
    hls.on(event, changed);
  let recovered = 0;
  hls.on(Events.ERROR, (_, error) => {
    if (!error.fatal) return;
    // Decoders stumble over a seek now and then; beginning anew helps, but not for ever.
    if (error.type === ErrorTypes.MEDIA_ERROR && recovered++ < 3) hls.recoverMediaError();
    else failed(error.details);
  });
  hls.loadSource(path);
  hls.attachMedia(video);
  const named = (track: { name: string }, id: number): Choice => ({ id, label: track.name });
  return {
    choices: () => ({
      sizes: sizesOf(hls.levels),
      sounds: hls.audioTracks.map(named),
      subtitles: [{ id: -1, label: "None" }, ...hls.subtitleTracks.map(named)],
    }),
    height: () => hls.levels[hls.currentLevel]?.height ?? null,
    sound: () => hls.audioTrack,
    subtitles: () => hls.subtitleTrack,
    chooseSize: (id) => (hls.nextLevel = id),
    chooseSound: (id) => (hls.audioTrack = id),
    chooseSubtitles: (id) => (hls.subtitleTrack = id),
    end: () => hls.destroy(),
  };
}
