// Requests of people who were invited, who may have no account yet.
import { Failure, reach } from "../../api/failure";

export interface OpenInvitation {
  /** Null: an account without a project. */
  project: string | null;
  role: string;
  invitedBy: string;
  expiresAt: string;
}

async function post<T>(path: string, body: object, token?: string): Promise<T> {
  const headers = { "Content-Type": "application/json", ...(token && { Authorization: `Bearer ${token}` }) };
  const answer = await reach(path, { method: "POST", headers, body: JSON.stringify(body) });
  if (!answer.ok) throw await Failure.of(answer);
  return ((await answer.json()) as { data: T }).data;
}

export const openInvitation = (code: string) => post<OpenInvitation>("/api/invitations/show", { code });
export const acceptInvitation = (code: string, username: string, password: string) =>
  post<{ accountId: string }>("/api/invitations/accept", { code, username, password });
export const joinByInvitation = (code: string, token: string) =>
  post<{ projectId: string }>("/api/invitations/join", { code }, token);
