// One request to the gateway on behalf of the person who is signed in.
import { Failure, reach } from "./failure";
import { renew, token } from "./session";

/** Sends with a bearer token; when it is refused, once more with a fresh one. */
export async function authorized(path: string, init: RequestInit = {}): Promise<Response> {
  const send = (bearer: string) => reach(path, { ...init, headers: { ...init.headers, Authorization: `Bearer ${bearer}` } });
  const bearer = await token();
  const answer = await send(bearer);
  return answer.status === 401 ? send(await renew(bearer)) : answer;
}

export async function call<T>(path: string, method = "GET", body?: unknown): Promise<T> {
  const json = body === undefined ? {} : { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const answer = await authorized(path, { method, ...json });
  if (!answer.ok) throw await Failure.of(answer);
  const text = await answer.text();
  return (text ? (JSON.parse(text) as { data: T }).data : undefined) as T;
}

/** Data with the mark by which the gateway knows whether they have changed since. */
export interface Marked<T> {
  data: T;
  etag: string | null;
}

/** Reads `path`; null: it is what it was when the gateway gave it `etag`. */
export async function read<T>(path: string, etag: string | null): Promise<Marked<T> | null> {
  const answer = await authorized(path, etag ? { headers: { "If-None-Match": etag } } : {});
  if (answer.status === 304) return null;
  if (!answer.ok) throw await Failure.of(answer);
  return { data: ((await answer.json()) as { data: T }).data, etag: answer.headers.get("ETag") };
}

/** `/api/word?projectId=…&…`, without the values that are not set. */
export function address(word: string, query: Record<string, string | number | null | undefined> = {}): string {
  const set = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const text = new URLSearchParams(set.map(([name, value]) => [name, String(value)])).toString();
  return `/api/${word}${text && `?${text}`}`;
}

const plain = encodeURIComponent;
export { plain };
