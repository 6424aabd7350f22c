// One function per route that the console uses.
import { Failure, reach } from "./failure";
import { renew, token } from "./session";
import type { Device, Identity, Job, JobChange, Link, PoolUsage, Project, StoredFile } from "./types";

/** Sends with a bearer token; when it is refused, once more with a fresh one. */
export async function authorized(path: string, init: RequestInit = {}): Promise<Response> {
  const send = (bearer: string) =>
    reach(path, { ...init, headers: { ...init.headers, Authorization: `Bearer ${bearer}` } });
  const bearer = await token();
  const answer = await send(bearer);
  return answer.status === 401 ? send(await renew(bearer)) : answer;
}

async function call<T>(path: string, method = "GET"): Promise<T> {
  const answer = await authorized(path, { method });
  const text = await answer.text();
  if (!answer.ok) throw Failure.fromAnswer(answer.status, text);
  return (text ? (JSON.parse(text) as { data: T }).data : undefined) as T;
}

const inProject = (word: string, projectId: string) => `/api/${word}?projectId=${encodeURIComponent(projectId)}`;

export const me = () => call<Identity>("/api/auth/me");
export const projects = () => call<Project[]>("/api/projects");
export const devices = (projectId: string) => call<Device[]>(inProject("devices", projectId));
export const pools = (projectId: string) => call<PoolUsage[]>(inProject("pools", projectId));
export const files = (projectId: string) => call<StoredFile[]>(inProject("files", projectId));
export const jobs = (projectId: string) => call<Job[]>(inProject("jobs", projectId));
/** Stops a job, or lets one that is dead or cancelled run again. */
export const changeJob = (jobId: number, action: "cancel" | "retry") => call<JobChange>(`/api/jobs/${jobId}/${action}`, "POST");
export const deleteFile = (fileId: string) => call<unknown>(`/api/files/${fileId}`, "DELETE");
/** A link to the file as uploaded, or (without a rendition) to what plays best. */
export const linkTo = (fileId: string, rendition?: "original") =>
  call<Link>(`/api/files/${fileId}/link${rendition ? `?rendition=${rendition}` : ""}`, "POST");
