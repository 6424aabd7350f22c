import { address, authorized, call } from "./call";
import { Failure } from "./failure";
import type { Capabilities, Link, MadeShare, NewShare, Playback, StoredFile } from "./types";

export const filesAt = (projectId: string) => address("files", { projectId });
export const trashAt = (projectId: string) => address("trash", { projectId });
export const sharesAt = (projectId: string) => address("shares", { projectId });

export const deleteFile = (fileId: string) => call<unknown>(address(`files/${fileId}`), "DELETE");
export const moveFile = (fileId: string, place: { folder?: string; name?: string }) => call<StoredFile>(address(`files/${fileId}`), "PATCH", place);
export const emptyTrash = (projectId: string) => call<{ files: number }>(trashAt(projectId), "DELETE");
/** Deletes a file in the trash for good. */
export const purgeFile = (fileId: string) => call<unknown>(address(`trash/${fileId}`), "DELETE");
/** Takes a file out of the trash; where its name is taken, under another one. */
export const restoreFile = (fileId: string, name?: string) => call<StoredFile>(address(`trash/${fileId}/restore`), "POST", { name });

/** Notes where this account is in a film. `keepalive` also sends it while the page is being closed. */
export const setBookmark = (fileId: string, seconds: number, duration?: number) =>
  authorized(address(`files/${fileId}/bookmark`), {
    method: "PUT",
    keepalive: true,
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ seconds, duration }),
  });
/** A link to the file as uploaded, to its streams, or (without a rendition) to what plays best. */
export const linkTo = (fileId: string, rendition?: "original" | "web" | "hls") => call<Link>(address(`files/${fileId}/link`, { rendition }), "POST");

/** Of a file that could not be converted: tries once more, or keeps it as a file that is not played. */
export const convert = (fileId: string, wanted: boolean) => call<unknown>(address(`files/${fileId}/conversion`), "PUT", { wanted });

/** How this browser plays the file. */
export const decidePlayback = (fileId: string, capabilities: Capabilities) =>
  call<Playback>(address(`files/${fileId}/playback`), "POST", capabilities);

/** URL of a picture of a file within this page, to be revoked after use. An `<img>` cannot sign in itself. */
export async function picture(fileId: string, name: string): Promise<string> {
  const answer = await authorized(`/api/files/${fileId}/${name}`);
  if (!answer.ok) throw await Failure.of(answer);
  return URL.createObjectURL(await answer.blob());
}

export const makeShare = (share: NewShare) => call<MadeShare>(address("shares"), "POST", share);
export const revokeShare = (shareId: string) => call<unknown>(address(`shares/${shareId}`), "DELETE");
