// Where people are in a film: it goes on there, also on another device.

/** Seconds of playing after which the place is noted; a crash of the browser loses no more. */
const STEP = 10;
/** Seconds after the start, and before the end, within which nobody wants to go on. */
const MARGIN = 5;

/** Where a film begins: where it was left, unless that is about its start or its end. */
export function startOf(resumeAt: number | null, duration: number): number {
  if (resumeAt === null || resumeAt < MARGIN || resumeAt > duration - MARGIN) return 0;
  return resumeAt;
}

/** Notes the place from time to time, at a pause and at the end; the answered function does so once more and stops. */
export function keepBookmark(media: HTMLMediaElement, note: (seconds: number, duration?: number) => void): () => void {
  let noted = media.currentTime;
  const keep = () => {
    if (media.currentTime === noted || media.readyState === 0) return;
    noted = media.currentTime;
    note(noted, Number.isFinite(media.duration) ? media.duration : undefined);
  };
  const step = () => Math.abs(media.currentTime - noted) >= STEP && keep();
  media.addEventListener("timeupdate", step);
  media.addEventListener("pause", keep);
  media.addEventListener("ended", keep);
  window.addEventListener("pagehide", keep);
  return () => {
    keep();
    media.removeEventListener("timeupdate", step);
    media.removeEventListener("pause", keep);
    media.removeEventListener("ended", keep);
    window.removeEventListener("pagehide", keep);
  };
}
