import type { StoredFile } from "../../api/types";

export type Media = "video" | "audio" | "image" | "other";

export function mediaOf(contentType: string): Media {
  const [family = ""] = contentType.split("/");
  return family === "video" || family === "audio" || family === "image" ? family : "other";
}

/** How a file is shown here, or null when it cannot be yet or at all. A film may play while it is made. */
export function shownAs(file: StoredFile): Exclude<Media, "other"> | null {
  if (file.state === "processing" && mediaOf(file.contentType) === "video") return "video";
  if (file.state !== "ready") return null;
  const web = file.renditions.find((one) => one.kind === "web");
  const media = mediaOf(web?.contentType ?? file.contentType);
  return media === "other" ? null : media;
}

/** Seconds of a film at whose start and end it counts as not begun and as seen. */
const MARGIN = 30;

/** Whether somebody stopped in the middle of it. */
export const isGoingOn = ({ resumeAt, duration, state }: StoredFile) =>
  state === "ready" && resumeAt !== null && resumeAt > MARGIN && duration !== null && resumeAt < duration - MARGIN;
