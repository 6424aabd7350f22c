// Uploads by the protocol tus: they go on after a lost connection, and also after a reload of the page, as
// soon as the same file is chosen again. The address of each upload is kept in localStorage until then.
import type { DetailedError, PreviousUpload, Upload as Transfer, UploadOptions } from "tus-js-client";
import { authorized } from "../../api/call";
import { Failure } from "../../api/failure";
import { renew, token } from "../../api/session";

export type { Transfer };

/** Bytes of one request: small enough for proxies that limit bodies to 100 MB. */
const CHUNK = 16 * 1024 * 1024;
/** Milliseconds before each further try; progress begins them anew. About ten minutes in all. */
const DELAYS = [500, 1000, 2000, 4000, 8000, ...Array<number>(30).fill(20_000)];
/** What passes by itself: the gateway restarts, or another request is at the upload. */
const PASSING = [0, 401, 408, 409, 423, 425, 429, 500, 502, 503, 504];

/** Where the bytes are from, and what they are to become. */
export interface Target {
  projectId: string;
  folder: string;
}

/** What is told of an upload that runs. */
export interface Events {
  progress: (sent: number) => void;
  /** It could not go on for now and is tried again. */
  waiting: (failure: Failure) => void;
  /** duplicate: what of it the project had already. */
  done: (duplicate: "file" | "content" | null) => void;
  failed: (failure: Failure) => void;
}

/** An upload that another visit of the page has begun. */
export interface Interrupted extends Target {
  name: string;
  size: number;
  sent: number;
  /** Forgets it, and ends it at the gateway. */
  discard: () => Promise<void>;
}

/** The same file again, as far as a browser can tell. */
const fingerprint = (target: Target, file: { name: string; size: number; lastModified: number }) =>
  JSON.stringify(["nebula", target.projectId, target.folder, file.name, file.size, file.lastModified]);

/** The failure in words: the gateway's own where it has answered. */
function toFailure(thrown: Error | DetailedError): Failure {
  if (thrown instanceof Failure) return thrown;
  const detailed = "originalResponse" in thrown ? thrown : null;
  if (detailed?.causingError instanceof Failure) return detailed.causingError;
  const answer = detailed?.originalResponse;
  return answer ? Failure.fromAnswer(answer.getStatus(), answer.getBody()) : Failure.unreachable();
}

/** Whether a try after this failure can help. 409 is also the answer to a name that is taken. */
export const passes = (failure: Failure) => PASSING.includes(failure.status) && !(failure.status === 409 && failure.sqlstate !== "55000");

/** Makes the transfer of a file; it goes on with what an earlier one of the same file has left. */
export async function prepare(file: File, target: Target, events: Events): Promise<Transfer> {
  // Not part of the first load.
  const { Upload: Tus } = await import("tus-js-client");
  let refused = "";
  const options: UploadOptions = {
    endpoint: "/api/uploads",
    chunkSize: CHUNK,
    retryDelays: DELAYS,
    metadata: { filename: file.name, projectId: target.projectId, ...(target.folder && { folder: target.folder }) },
    fingerprint: () => Promise.resolve(fingerprint(target, file)),
    removeFingerprintOnSuccess: true,
    onBeforeRequest: async (request) => {
      const bearer = refused ? await renew(refused) : await token();
      refused = "";
      request.setHeader("Authorization", `Bearer ${bearer}`);
    },
    onAfterResponse: (request, answer) => {
      if (answer.getStatus() === 401) refused = request.getHeader("Authorization")?.slice("Bearer ".length) ?? "";
    },
    onProgress: events.progress,
    onShouldRetry: (thrown) => {
      const failure = toFailure(thrown);
      if (!passes(failure)) return false;
      events.waiting(failure);
      return true;
    },
    onSuccess: ({ lastResponse }) => {
      const duplicate = lastResponse.getHeader("Nebula-Duplicate");
      events.done(duplicate === "file" || duplicate === "content" ? duplicate : null);
    },
    onError: (thrown) => events.failed(toFailure(thrown)),
  };
  const transfer = new Tus(file, options);
  const [previous] = await transfer.findPreviousUploads();
  if (previous) transfer.resumeFromPreviousUpload(previous);
  return transfer;
}

/** The uploads that earlier visits have begun and the gateway still has. */
export async function interrupted(): Promise<Interrupted[]> {
  const { defaultOptions } = await import("tus-js-client");
  const storage = defaultOptions.urlStorage;
  const looked = (await storage.findAllUploads()).map(async (one) => {
    const found = await look(one);
    if (found === "gone") await storage.removeUpload(one.urlStorageKey);
    if (typeof found === "string") return null;
    const discard = async () => {
      await storage.removeUpload(one.urlStorageKey);
      await end(one.uploadUrl ?? "");
    };
    return { ...found, discard };
  });
  return (await Promise.all(looked)).filter((one) => one !== null);
}

const VERSION = { "Tus-Resumable": "1.0.0" };

/** How far an upload is; "gone" when it has become a file, "unknown" when the account cannot see it. */
async function look(one: PreviousUpload): Promise<Omit<Interrupted, "discard"> | "gone" | "unknown"> {
  const { filename: name, projectId, folder = "" } = one.metadata;
  if (!one.uploadUrl || !name || !projectId) return "unknown";
  try {
    const answer = await authorized(one.uploadUrl, { method: "HEAD", headers: VERSION });
    // Another account of this browser may have begun it.
    if (!answer.ok) return "unknown";
    if (answer.headers.has("Content-Location")) return "gone";
    return { name, projectId, folder, size: one.size ?? 0, sent: Number(answer.headers.get("Upload-Offset")) };
  } catch {
    return "unknown";
  }
}

async function end(url: string): Promise<void> {
  await authorized(url, { method: "DELETE", headers: VERSION }).catch(() => undefined);
}
