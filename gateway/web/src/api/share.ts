// Requests of visitors without an account.
import { Failure, reach } from "./failure";
import type { SharedFile } from "./types";

export async function openShare(token: string, password?: string): Promise<SharedFile> {
  const body = JSON.stringify(password === undefined ? { token } : { token, password });
  const answer = await reach("/api/shares/open", { method: "POST", headers: { "Content-Type": "application/json" }, body });
  const text = await answer.text();
  if (!answer.ok) throw Failure.fromAnswer(answer.status, text);
  return (JSON.parse(text) as { data: SharedFile }).data;
}
