import { Failure } from "./failure";
import { renew, token } from "./session";
import type { StoredFile } from "./types";

/** Sends a file's bytes. XMLHttpRequest, because fetch tells nothing of how much has been sent. */
export async function upload(
  projectId: string,
  file: File,
  onProgress: (sent: number) => void,
  signal: AbortSignal,
): Promise<StoredFile> {
  const bearer = await token();
  const path = `/api/files?${new URLSearchParams({ projectId, name: file.name })}`;
  let answer = await send(path, file, bearer, onProgress, signal);
  if (answer.status === 401) answer = await send(path, file, await renew(bearer), onProgress, signal);
  if (answer.status >= 300) throw Failure.fromAnswer(answer.status, answer.text);
  return (JSON.parse(answer.text) as { data: StoredFile }).data;
}

function send(path: string, file: File, bearer: string, onProgress: (sent: number) => void, signal: AbortSignal) {
  return new Promise<{ status: number; text: string }>((resolve, reject) => {
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    request.open("POST", path);
    request.setRequestHeader("Authorization", `Bearer ${bearer}`);
    // The gateway tells the type from the bytes; a saved web page, whose type is multipart/…, would be taken for a form.
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.onprogress = (event) => onProgress(event.loaded);
    request.onload = () => resolve({ status: request.status, text: request.responseText });
    // A gateway that refuses early closes the connection while we send, and then its answer is lost.
    request.onerror = () =>
      reject(new Failure(0, "The connection to the gateway broke.", "Try again; if it breaks each time, its log says why."));
    request.onabort = () => reject(new Failure(0, "The upload was cancelled."));
    request.onloadend = () => signal.removeEventListener("abort", abort);
    signal.addEventListener("abort", abort);
    if (signal.aborted) return reject(new Failure(0, "The upload was cancelled."));
    request.send(file);
  });
}
