// Playing the streams of a film: the size follows the line, unless the viewer chooses one.
import type Hls from "hls.js";

/** Seconds by which the clock of the streams is ahead of the film. */
const CLOCK_OFFSET = 1;

/** A film that is being streamed into a video element. */
export interface Stream {
  /** Pixels of the height that is shown now, or null before the first picture. */
  height(): number | null;
  /** Names of the sounds, and which of them is heard. */
  sounds(): string[];
  sound(): number;
  /** Seconds that the film's times are ahead of those of the video element. */
  offset(): number;
  /** null: the best that the line takes. */
  chooseHeight(height: number | null): void;
  chooseSound(index: number): void;
  end(): void;
}

/**
 * Begins to stream at a second; null where the browser itself plays playlists, with choices of its own. `changed` is called when the
 * choices change, `failed` when nothing helps any more.
 */
export async function stream(video: HTMLVideoElement, path: string, at: number, changed: () => void, failed: () => void): Promise<Stream | null> {
  const [{ default: Hls }, { default: workerPath }] = await Promise.all([import("hls.js"), import("hls.js/dist/hls.worker.js?url")]);
  if (!Hls.isSupported()) {
    // Safari on iPhones.
    if (!video.canPlayType("application/vnd.apple.mpegurl")) failed();
    video.src = path;
    return null;
  }
  // Subtitles are tracks of the video element (subtitles.ts), which also come when they are made later.
  const own = { subtitleStreamController: undefined, subtitleTrackController: undefined, timelineController: undefined };
  const hls: Hls = new Hls({ workerPath, startPosition: at, ...own });
  const { Events, ErrorTypes } = Hls;
  let start = CLOCK_OFFSET;
  /** What the viewer chose, also before the sizes are known. */
  let chosen: number | null = null;
  const choose = () => {
    hls.nextLevel = chosen === null ? -1 : hls.levels.findIndex((level) => level.height === chosen);
  };
  hls.on(Events.INIT_PTS_FOUND, (_, { id, initPTS, timescale }) => {
    if (id !== "main") return;
    start = initPTS / timescale;
    changed();
  });
  hls.on(Events.MANIFEST_PARSED, () => chosen !== null && choose());
  for (const event of [Events.MANIFEST_PARSED, Events.LEVEL_SWITCHED, Events.AUDIO_TRACKS_UPDATED, Events.AUDIO_TRACK_SWITCHED]) hls.on(event, changed);
  let recovered = 0;
  hls.on(Events.ERROR, (_, error) => {
    if (!error.fatal) return;
    // Decoders stumble over a seek now and then; beginning anew helps, but not for ever.
    if (error.type === ErrorTypes.MEDIA_ERROR && recovered++ < 3) hls.recoverMediaError();
    else failed();
  });
  hls.loadSource(path);
  hls.attachMedia(video);
  return {
    height: () => hls.levels[hls.currentLevel]?.height ?? null,
    sounds: () => hls.audioTracks.map((track) => track.name),
    sound: () => hls.audioTrack,
    offset: () => CLOCK_OFFSET - start,
    chooseHeight: (height) => {
      chosen = height;
      if (hls.levels.length > 0) choose();
    },
    chooseSound: (index) => {
      hls.audioTrack = index;
    },
    end: () => hls.destroy(),
  };
}
