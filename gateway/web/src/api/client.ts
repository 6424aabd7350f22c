// One function per route that the console uses.
import { Failure, reach } from "./failure";
import { renew, token } from "./session";
import type {
  Capabilities,
  Device,
  EnabledNode,
  HostNode,
  Identity,
  InterfaceValues,
  ItemError,
  Job,
  JobChange,
  Link,
  NewPeer,
  NodeInterface,
  Peer,
  PeerConfig,
  PeerResult,
  Playback,
  PoolUsage,
  Project,
  ProjectOptions,
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
export const options = (projectId: string) => call<ProjectOptions>(`/api/projects/${projectId}/configuration`);
export const changeOptions = (projectId: string, options: Partial<ProjectOptions>) =>
  call<ProjectOptions>(`/api/projects/${projectId}/configuration`, "PATCH", options);
export const devices = (projectId: string) => call<Device[]>(inProject("devices", projectId));
export const pools = (projectId: string) => call<PoolUsage[]>(inProject("pools", projectId));
export const files = (projectId: string) => call<StoredFile[]>(inProject("files", projectId));
export const jobs = (projectId: string) => call<Job[]>(inProject("jobs", projectId));
/** Stops a job, or lets one that is dead or cancelled run again. */
export const changeJob = (jobId: number, action: "cancel" | "retry") => call<JobChange>(`/api/jobs/${jobId}/${action}`, "POST");
export const deleteFile = (fileId: string) => call<unknown>(`/api/files/${fileId}`, "DELETE");
export const trash = (projectId: string) => call<StoredFile[]>(inProject("trash", projectId));
export const emptyTrash = (projectId: string) => call<{ files: number }>(inProject("trash", projectId), "DELETE");
/** Takes a file out of the trash; where its name is taken, under another one. */
export const restoreFile = (fileId: string, name?: string) => call<StoredFile>(`/api/trash/${fileId}/restore`, "POST", { name });
/** Notes where this account is in a film. `keepalive` also sends it while the page is being closed. */
export const setBookmark = (fileId: string, seconds: number, duration?: number) =>
  authorized(`/api/files/${fileId}/bookmark`, {
    method: "PUT",
    keepalive: true,
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ seconds, duration }),
  });
/** A link to the file as uploaded, to its streams, or (without a rendition) to what plays best. */
export const linkTo = (fileId: string, rendition?: "original" | "web" | "hls") =>
  call<Link>(`/api/files/${fileId}/link${rendition ? `?rendition=${rendition}` : ""}`, "POST");

/** Of a file that could not be converted: tries once more, or keeps it as a file that is not played. */
export const convert = (fileId: string, wanted: boolean) => call<unknown>(`/api/files/${fileId}/conversion`, "PUT", { wanted });

/** How this browser plays the file. */
export const decidePlayback = (fileId: string, capabilities: Capabilities) =>
  call<Playback>(`/api/files/${fileId}/playback`, "POST", capabilities);

/** Address of a picture of a file within this page; who is done with it revokes it. An `<img>` cannot sign in itself. */
export async function picture(fileId: string, name: string): Promise<string> {
  const answer = await authorized(`/api/files/${fileId}/${name}`);
  if (!answer.ok) throw Failure.fromAnswer(answer.status, await answer.text());
  return URL.createObjectURL(await answer.blob());
}

/** Lets a device in that asked for it. */
export const approveDevice = (request: string, device: { projectId: string; name: string; role: string; groups: string[] }) =>
  call<unknown>(`/api/enrolments/approve?request=${encodeURIComponent(request)}`, "POST", device);

/** Seconds that a node gets to apply a change before the gateway withdraws it. */
const WAIT = 20;
/** Peers of one request; the gateway takes bodies of up to 64 kB. */
const BATCH = 500;

export const nodes = () => call<HostNode[]>("/api/nodes");
export const enabledNodes = (projectId: string) => call<EnabledNode[]>(inProject("nodes/enabled", projectId));
export const changeNode = (nodeId: string, changes: { desiredState?: HostNode["desiredState"]; repair?: boolean }) =>
  call<HostNode>(`/api/nodes/${nodeId}`, "PATCH", changes);

/** The WireGuard interface of this name: added to the node, or changed. */
export const setInterface = (nodeId: string, name: string, values: InterfaceValues) =>
  call<NodeInterface>(`/api/nodes/${nodeId}/interfaces/${encodeURIComponent(name)}`, "PUT", values);
export const removeInterface = (nodeId: string, name: string) =>
  call<unknown>(`/api/nodes/${nodeId}/interfaces/${encodeURIComponent(name)}`, "DELETE");

/** At most `max` peers by name, those behind `after`. */
export const peers = (projectId: string, max: number, after?: string) =>
  call<Peer[]>(`${inProject("peers", projectId)}&max=${max}${after ? `&after=${after}` : ""}`);
export const createPeer = async (projectId: string, strategy: string, peer: NewPeer) =>
  only(await call<PeerResult[]>("/api/peers", "POST", { projectId, strategy, peers: [peer], wait: WAIT }));
export const changePeer = (peerId: string, changes: { publicKey?: string; disabled?: boolean }) =>
  call<Peer>(`/api/peers/${peerId}`, "PATCH", changes);
export const movePeer = async (peerId: string, strategy: string) =>
  only(await call<PeerResult[]>("/api/peers/move", "POST", { peerIds: [peerId], strategy, wait: WAIT }));
/** Lets a peer that moves stay on its node. */
export const cancelMove = (peerId: string) => call<Peer>(`/api/peers/${peerId}/move`, "DELETE");
export const movePeers = (chosen: Peer[], strategy: string) => inBatches(chosen, "/api/peers/move", { strategy });
export const removePeers = (chosen: Peer[]) => inBatches(chosen, "/api/peers/remove", {});
/** Moves all peers of a node to the others; answers why some stay. */
export async function movePeersAway(nodeId: string): Promise<string[]> {
  const all = await call<Peer[]>("/api/peers");
  const there = all.filter((one) => one.nodeId === nodeId && one.movingTo === null && one.state !== "leaving");
  const failed = await movePeers(there, "auto");
  return there.flatMap(({ peerId, name }) => (failed.has(peerId) ? [`${name} stays: ${failed.get(peerId)?.detail}`] : []));
}
export const peerConfig = (peerId: string) => call<PeerConfig>(`/api/peers/${peerId}/config`);

/** The failures by peer. A batch without an answer fails for all of its peers; the others are sent all the same. */
async function inBatches(chosen: Peer[], path: string, more: object): Promise<Map<string, Failure>> {
  const failed = new Map<string, Failure>();
  for (let first = 0; first < chosen.length; first += BATCH) {
    const batch = chosen.slice(first, first + BATCH);
    const body = { peerIds: batch.map((one) => one.peerId), ...more };
    try {
      for (const { item, error } of await call<PeerResult[]>(path, "POST", body)) {
        const peer = batch[item];
        if (error && peer) failed.set(peer.peerId, ofItem(error));
      }
    } catch (thrown) {
      for (const { peerId } of batch) failed.set(peerId, Failure.from(thrown));
    }
  }
  return failed;
}

const ofItem = ({ detail, hint, sqlstate }: ItemError) => new Failure(409, detail, hint, sqlstate);

/** The result of a batch of one. */
function only(results: PeerResult[]): Peer {
  const [result] = results;
  if (result?.peer) return result.peer;
  throw result?.error ? ofItem(result.error) : new Failure(0, "the gateway answered without a peer");
}
