// Uploads of this tab: one after the other, so that the first is done soon instead of all being done late.
import { reactive } from "vue";
import { Failure } from "./api/failure";
import { upload } from "./api/upload";
import { announce } from "./announce";
import { files } from "./store";

export interface Upload {
  id: number;
  projectId: string;
  file: File;
  state: "queued" | "sending" | "failed";
  /** Bytes sent so far. */
  sent: number;
  /** When sending began, for the time left. */
  began: number;
  failure: Failure | null;
  abort: AbortController;
}

export const uploads = reactive<Upload[]>([]);
let serial = 0;
let busy = false;

export function enqueue(projectId: string, chosen: Iterable<File>): void {
  for (const file of chosen) {
    const abort = new AbortController();
    uploads.push({ id: ++serial, projectId, file, state: "queued", sent: 0, began: 0, failure: null, abort });
  }
  void work();
}

export function cancel(one: Upload): void {
  one.abort.abort();
  remove(one);
}

export function cancelAll(): void {
  [...uploads].forEach(cancel);
}

function remove(one: Upload): void {
  const at = uploads.indexOf(one);
  if (at >= 0) uploads.splice(at, 1);
}

export function retry(one: Upload): void {
  Object.assign(one, { state: "queued", sent: 0, failure: null });
  void work();
}

/** Milliseconds left at the pace so far; null while that would be a guess. */
export function remaining(one: Upload, at = Date.now()): number | null {
  const spent = at - one.began;
  return one.sent > 0 && spent > 2000 ? (spent / one.sent) * (one.file.size - one.sent) : null;
}

async function work(): Promise<void> {
  if (busy) return;
  busy = true;
  try {
    for (let next = find(); next; next = find()) await one(next);
  } finally {
    busy = false;
  }
}

const find = () => uploads.find((each) => each.state === "queued");

async function one(next: Upload): Promise<void> {
  Object.assign(next, { state: "sending", began: Date.now() });
  announce(`Uploading ${next.file.name}.`);
  try {
    await upload(next.projectId, next.file, (sent) => (next.sent = sent), next.abort.signal);
    remove(next);
    announce(`${next.file.name} is uploaded.`);
    files.refresh();
  } catch (thrown) {
    if (next.abort.signal.aborted) return;
    Object.assign(next, { state: "failed", failure: Failure.from(thrown) });
    announce(`${next.file.name} was not uploaded: ${next.failure?.detail}`);
  }
}

if (typeof window !== "undefined") {
  window.addEventListener("beforeunload", (event) => {
    if (uploads.some((each) => each.state !== "failed")) event.preventDefault();
  });
}
