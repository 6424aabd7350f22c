// The gateway's uploads as tus-js-client, which was written elsewhere, speaks tus and the draft of the IETF. No
// browser takes part.
import { DetailedError, Upload, type UploadOptions } from "tus-js-client";
import { afterAll, beforeAll, expect, test } from "vitest";
import { env } from "./browser";

/** tus-js-client knows more than its types say. */
type Options = UploadOptions & { protocol?: "tus-v1" | "ietf-draft-05" };

/** Of Node, whose types are not installed. */
const { Buffer } = globalThis as unknown as { Buffer: { from: (content: Uint8Array) => Blob } };

const SIZE = 1_000_000;
const bytes = Uint8Array.from({ length: SIZE }, (_, at) => (Math.imul(at, 2_654_435_761) >>> 23) & 255);
let bearer = "";
let projectId = "";
/** Methods of the requests of a test, and the answers' statuses. */
let requests: string[] = [];

const json = async <T>(path: string, init: RequestInit = {}): Promise<T> => {
  const headers = { "Content-Type": "application/json", Authorization: `Bearer ${bearer}` };
  return (await (await fetch(`${env("NEBULA_URL")}${path}`, { headers, ...init })).json()) as T;
};

beforeAll(async () => {
  const body = JSON.stringify({ username: env("NEBULA_USERNAME"), password: env("NEBULA_PASSWORD") });
  bearer = (await json<{ accessToken: string }>("/api/auth/login", { method: "POST", body })).accessToken;
  projectId = (await json<{ data: { projectId: string }[] }>("/api/projects")).data[0]?.projectId ?? "";
});

afterAll(() => expect(bearer).not.toBe(""));

/** Uploads `content` under a name; answers the URL of the upload. `during` is called after each request with bytes. */
function upload(name: string, content: Uint8Array, more: Partial<Options> = {}, during?: (upload: Upload) => void): Promise<string> {
  requests = [];
  return new Promise((resolve, reject) => {
    const options: Options = {
      endpoint: `${env("NEBULA_URL")}/api/uploads`,
      metadata: { filename: name, projectId },
      headers: { Authorization: `Bearer ${bearer}` },
      retryDelays: null,
      onError: reject,
      onSuccess: () => resolve(transfer.url ?? ""),
      onChunkComplete: () => during?.(transfer),
      onAfterResponse: (request, answer) => void requests.push(`${request.getMethod()} ${answer.getStatus()}`),
      ...more,
    };
    const transfer: Upload = new Upload(Buffer.from(content), options);
    transfer.start();
  });
}

/** The bytes of a file of this name. */
async function stored(name: string): Promise<Uint8Array> {
  const { data } = await json<{ data: { fileId: string; name: string }[] }>(`/api/files?projectId=${projectId}`);
  const file = data.find((one) => one.name === name);
  const answer = await fetch(`${env("NEBULA_URL")}/api/files/${file?.fileId}/content`, { headers: { Authorization: `Bearer ${bearer}` } });
  return new Uint8Array(await answer.arrayBuffer());
}

/** Comparing arrays element by element would take seconds. */
const same = (one: Uint8Array, other: Uint8Array) => one.length === other.length && one.every((byte, at) => byte === other[at]);

test("in pieces, and all at once with the creation", async () => {
  await upload("pieces", bytes, { chunkSize: 300_000 });
  expect(requests).toEqual(["POST 201", "PATCH 204", "PATCH 204", "PATCH 204", "PATCH 204"]);
  expect(same(await stored("pieces"), bytes)).toBe(true);
  await upload("at-once", bytes.slice(1), { uploadDataDuringCreation: true });
  expect(requests).toEqual(["POST 201"]);
  expect(same(await stored("at-once"), bytes.slice(1))).toBe(true);
});

test("parts at the same time, which the gateway joins", async () => {
  await upload("joined", bytes.slice(2), { parallelUploads: 4 });
  expect(requests.filter((one) => one === "POST 201").length).toBe(5);
  expect(same(await stored("joined"), bytes.slice(2))).toBe(true);
});

test("of a size that is known at the end", async () => {
  const content = bytes.slice(3);
  const { Readable } = (await import(String("node:stream"))) as { Readable: { from: (content: Blob) => ReadableStreamDefaultReader } };
  await new Promise<void>((resolve, reject) => {
    const transfer = new Upload(Readable.from(Buffer.from(content)), {
      endpoint: `${env("NEBULA_URL")}/api/uploads`,
      metadata: { filename: "deferred", projectId },
      headers: { Authorization: `Bearer ${bearer}` },
      chunkSize: 400_000,
      uploadLengthDeferred: true,
      retryDelays: null,
      onError: reject,
      onSuccess: () => resolve(),
    });
    transfer.start();
  });
  expect(same(await stored("deferred"), content)).toBe(true);
});

test.each(["tus-v1", "ietf-draft-05"] as const)("stopped and gone on with, and ended (%s)", async (protocol) => {
  const [name, content] = [`stopped-${protocol}`, bytes.slice(protocol.length)];
  const endpoint = `${env("NEBULA_URL")}/api/uploads?projectId=${projectId}&name=${name}`;
  const url = await new Promise<string>((resolve, reject) => {
    upload(name, content, { endpoint, protocol, chunkSize: 300_000 }, (transfer) => {
      void transfer.abort().then(() => resolve(transfer.url ?? ""), reject);
    }).catch(reject);
  });
  await upload(name, content, { endpoint, protocol, uploadUrl: url });
  expect(requests[0]?.slice(0, 6)).toBe("HEAD 2");
  expect(requests.length).toBe(2);
  expect(same(await stored(name), content)).toBe(true);
  // Another one is ended before it is whole.
  const other = endpoint.replace(name, `ended-${protocol}`);
  const ended = await new Promise<Upload>((resolve, reject) => {
    upload("", bytes.slice(20), { endpoint: other, protocol, chunkSize: 300_000 }, (transfer) => {
      void transfer.abort(true).then(() => resolve(transfer), reject);
    }).catch(reject);
  });
  const gone = await fetch(ended.url ?? "", { method: "HEAD", headers: { Authorization: `Bearer ${bearer}`, "Tus-Resumable": "1.0.0" } });
  expect(gone.status).toBe(404);
});

test("a name that is taken is refused with the creation", async () => {
  const refused = await upload("pieces", bytes.slice(5)).catch((thrown: unknown) => thrown);
  expect(refused).toBeInstanceOf(DetailedError);
  expect((refused as DetailedError).originalResponse?.getStatus()).toBe(409);
  expect(requests).toEqual(["POST 409"]);
});
