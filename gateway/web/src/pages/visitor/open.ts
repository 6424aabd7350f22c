// Requests of visitors without an account.
import { Failure, reach } from "../../api/failure";
import type { SharedFile, SharedFolder } from "../../api/types";

/** Opens a link; of a folder, its list or one of its files. */
export async function openShare(token: string, password?: string, fileId?: string): Promise<SharedFile | SharedFolder> {
  const body = JSON.stringify({ token, password, fileId });
  const answer = await reach("/api/shares/open", { method: "POST", headers: { "Content-Type": "application/json" }, body });
  if (!answer.ok) throw await Failure.of(answer);
  return ((await answer.json()) as { data: SharedFile | SharedFolder }).data;
}
