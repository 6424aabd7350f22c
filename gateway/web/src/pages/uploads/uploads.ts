// Uploads of this tab, a few at the same time. They outlive pages of the console, and what a reload interrupts
// waits for its file to be chosen again.
import { markRaw, reactive } from "vue";
import { Failure } from "../../api/failure";
import { interrupted, prepare, type Transfer } from "./transfer";
import { announce } from "../../frame/announce";
import type { Chosen } from "./chosen";
import { Pace } from "./pace";
import { files } from "../../data/store";

export interface Upload {
  id: number;
  projectId: string;
  folder: string;
  name: string;
  size: number;
  /** Missing for an upload of an earlier visit: a page cannot keep a file over a reload. */
  file: File | null;
  /** waiting: the connection is lost, and it is tried again. */
  state: "queued" | "sending" | "waiting" | "paused" | "failed" | "interrupted";
  /** Bytes at the gateway or on their way. */
  sent: number;
  pace: Pace;
  failure: Failure | null;
  transfer: Transfer | null;
  /** Of an interrupted one: forgets it here and at the gateway. */
  discard: (() => Promise<void>) | null;
}

/** Files that are sent at the same time. */
const PARALLEL = 3;

export const uploads = reactive<Upload[]>([]);
let serial = 0;

type Place = Pick<Upload, "projectId" | "folder" | "name" | "size">;

function add(one: Place & Partial<Upload>): void {
  const fresh = { id: ++serial, file: null, state: "queued", sent: 0, failure: null, transfer: null, discard: null } as const;
  uploads.push({ ...fresh, pace: new Pace(), ...one });
}

const isSame = (one: Place, other: Place) =>
  one.projectId === other.projectId && one.folder === other.folder && one.name === other.name && one.size === other.size;

/** Takes files in; one that continues an interrupted upload takes its place. */
export function enqueue(projectId: string, chosen: Iterable<Chosen>): void {
  for (const { file, folder } of chosen) {
    const { name, size } = file;
    const before = uploads.find((each) => each.state === "interrupted" && isSame(each, { projectId, folder, name, size }));
    if (before) Object.assign(before, { file, state: "queued" });
    else add({ projectId, folder, name, size, file });
  }
  work();
}

/** Shows the uploads that an earlier visit has begun. */
export async function restore(): Promise<void> {
  for (const one of await interrupted()) {
    if (!uploads.some((each) => isSame(each, one))) add({ ...one, state: "interrupted" });
  }
}

export function cancel(one: Upload): void {
  remove(one);
  // Ends it at the gateway, too.
  void (one.transfer?.abort(true) ?? one.discard?.() ?? Promise.resolve()).catch(() => undefined);
  work();
}

/** Leaves all where they are: whoever signs in next may go on with their own. */
export function suspendAll(): void {
  for (const one of uploads.splice(0)) void one.transfer?.abort().catch(() => undefined);
}

export function pause(one: Upload): void {
  void one.transfer?.abort().catch(() => undefined);
  one.state = "paused";
  work();
}

export function resume(one: Upload): void {
  Object.assign(one, { state: "queued", failure: null });
  work();
}

function remove(one: Upload): void {
  const at = uploads.findIndex((each) => each.id === one.id);
  if (at >= 0) uploads.splice(at, 1);
}

const isRunning = (one: Upload) => one.state === "sending" || one.state === "waiting";

function work(): void {
  for (let next = find(); next && uploads.filter(isRunning).length < PARALLEL; next = find()) void begin(next);
}

const find = () => uploads.find((each) => each.state === "queued" && each.file !== null);

async function begin(one: Upload): Promise<void> {
  if (!one.file) return;
  Object.assign(one, { state: "sending", failure: null, pace: new Pace() });
  announce(`Uploading ${one.name}.`);
  try {
    const { projectId, folder } = one;
    one.transfer ??= markRaw(await prepare(one.file, { projectId, folder }, told(one)));
    // It may have been paused or cancelled meanwhile.
    if (isRunning(one) && uploads.some((each) => each.id === one.id)) one.transfer.start();
  } catch (thrown) {
    failed(one, Failure.from(thrown));
  }
}

const told = (one: Upload) => ({
  progress: (sent: number) => {
    if (one.state === "waiting") Object.assign(one, { state: "sending", failure: null });
    one.sent = sent;
    one.pace.add(Date.now(), sent);
  },
  waiting: (failure: Failure) => {
    if (isRunning(one)) Object.assign(one, { state: "waiting", failure });
  },
  done: (duplicate: "file" | "content" | null) => {
    remove(one);
    announce(duplicate === "file" ? `${one.name} was there already.` : `${one.name} is uploaded.`);
    files.refresh();
    work();
  },
  failed: (failure: Failure) => failed(one, failure),
});

function failed(one: Upload, failure: Failure): void {
  Object.assign(one, { state: "failed", failure });
  announce(`${one.name} was not uploaded: ${failure.detail}`);
  work();
}

if (typeof window !== "undefined") {
  window.addEventListener("beforeunload", (event) => {
    if (uploads.some((each) => isRunning(each) || each.state === "queued")) event.preventDefault();
  });
  // No need to wait for the next try.
  window.addEventListener("online", () => uploads.filter((each) => each.state === "waiting").forEach(hurry));
}

function hurry(one: Upload): void {
  void one.transfer
    ?.abort()
    .then(() => one.state === "waiting" && one.transfer?.start())
    .catch(() => undefined);
}
