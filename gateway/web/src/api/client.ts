// One function per route that the console uses.
import { Failure, reach } from "./failure";
import { renew, token } from "./session";
import type {
  Device,
  EnabledNode,
  HostNode,
  Identity,
  Job,
  JobChange,
  Link,
  NewPeer,
  Peer,
  PeerConfig,
  PeerResult,
  PoolUsage,
  Project,
  StoredFile,
} from "./types";

/** Sends with a bearer token; when it is refused, once more with a fresh one. */
export async function authorized(path: string, init: RequestInit = {}): Promise<Response> {
  const send = (bearer: string) =>
    reach(path, { ...init, headers: { ...init.headers, Authorization: `Bearer ${bearer}` } });
  const bearer = await token();
  const answer = await send(bearer);
  return answer.status === 401 ? send(await renew(bearer)) : answer;
}

async function call<T>(path: string, method = "GET", body?: unknown): Promise<T> {
  const json = body === undefined ? {} : { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const answer = await authorized(path, { method, ...json });
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

/** Seconds that a node gets to apply a change before the gateway withdraws it. */
const WAIT = 20;
/** Peers of one request; the gateway takes bodies of up to 64 kB. */
const BATCH = 500;

export const nodes = () => call<HostNode[]>("/api/nodes");
export const enabledNodes = (projectId: string) => call<EnabledNode[]>(inProject("nodes/enabled", projectId));
export const setNodeState = (nodeId: string, desiredState: HostNode["desiredState"]) =>
  call<HostNode>(`/api/nodes/${nodeId}`, "PATCH", { desiredState });

export const peers = (projectId: string) => call<Peer[]>(inProject("peers", projectId));
export const createPeer = async (projectId: string, strategy: string, peer: NewPeer) =>
  only(await call<PeerResult[]>("/api/peers", "POST", { projectId, strategy, peers: [peer], wait: WAIT }));
export const changePeer = (peerId: string, changes: { publicKey?: string; disabled?: boolean }) =>
  call<Peer>(`/api/peers/${peerId}`, "PATCH", changes);
export const movePeer = async (peerId: string, strategy: string) =>
  only(await call<PeerResult[]>("/api/peers/move", "POST", { peerIds: [peerId], strategy, wait: WAIT }));
/** Moves all peers of a node to the others; answers why some stay. */
export async function movePeersAway(nodeId: string): Promise<string[]> {
  const all = await call<Peer[]>("/api/peers");
  const peers = all.filter((one) => one.nodeId === nodeId && one.movingTo === null && one.state !== "leaving");
  const failed: string[] = [];
  for (let first = 0; first < peers.length; first += BATCH) {
    const batch = peers.slice(first, first + BATCH);
    const body = { peerIds: batch.map((one) => one.peerId), strategy: "auto" };
    const results = await call<PeerResult[]>("/api/peers/move", "POST", body);
    for (const { item, error } of results) if (error) failed.push(`${batch[item]?.name} stays: ${error.detail}`);
  }
  return failed;
}
export const removePeer = (peerId: string) => call<unknown>(`/api/peers/${peerId}`, "DELETE");
export const peerConfig = (peerId: string) => call<PeerConfig>(`/api/peers/${peerId}/config`);

/** The result of a batch of one. */
function only(results: PeerResult[]): Peer {
  const [result] = results;
  if (result?.peer) return result.peer;
  throw new Failure(409, result?.error?.detail ?? "the gateway answered without a peer", result?.error?.hint);
}
