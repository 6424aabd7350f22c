// The subtitles of a film as tracks of the video element, where media-chrome finds them.
import type { SubtitleTrack } from "./playlist";

/** Moves the lines of a track that is loaded, so that they are shown `offset` seconds after the times in the file. */
export function shift(cues: Iterable<{ startTime: number; endTime: number }>, by: number) {
  for (const cue of cues) {
    cue.startTime += by;
    cue.endTime += by;
  }
}

export class Subtitles {
  /** The tracks, and the seconds by which their lines were moved. */
  private readonly tracks = new Map<string, { element: HTMLTrackElement; moved: number }>();
  private offset = 0;

  constructor(private readonly video: HTMLMediaElement) {}

  /** Adds those that are not there yet. */
  add(found: SubtitleTrack[]) {
    for (const { url, label, language } of found) {
      if (this.tracks.has(url)) continue;
      const element = Object.assign(document.createElement("track"), { kind: "subtitles", label, srclang: language, src: url });
      const track = { element, moved: 0 };
      element.addEventListener("load", () => this.place(track));
      this.tracks.set(url, track);
      this.video.append(element);
    }
  }

  /** The seconds by which the video element is ahead of the film. */
  setOffset(offset: number) {
    this.offset = offset;
    this.tracks.forEach((track) => this.place(track));
  }

  private place(track: { element: HTMLTrackElement; moved: number }) {
    const { cues } = track.element.track;
    if (!cues || track.element.readyState !== HTMLTrackElement.LOADED) return;
    shift([...cues] as VTTCue[], this.offset - track.moved);
    track.moved = this.offset;
  }
}
