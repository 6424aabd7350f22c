import { address, call } from "./call";
import { Failure } from "./failure";
import type { ItemError, NewPeer, Peer, PeerConfig, PeerResult } from "./types";

/** Seconds that a node gets to apply a change before the gateway withdraws it. */
const WAIT = 20;
/** Peers of one request; the gateway takes bodies of up to 64 kB. */
const BATCH = 500;

export const peersAt = (projectId: string) => address("peers", { projectId });
/** At most `max` peers by name, those behind `after`. */
export const peers = (projectId: string, max: number, after?: string) => call<Peer[]>(address("peers", { projectId, max, after }));
export const createPeer = async (projectId: string, strategy: string, peer: NewPeer) =>
  only(await call<PeerResult[]>(address("peers"), "POST", { projectId, strategy, peers: [peer], wait: WAIT }));
export const changePeer = (peerId: string, changes: { publicKey?: string; disabled?: boolean }) =>
  call<Peer>(address(`peers/${peerId}`), "PATCH", changes);
export const movePeer = async (peerId: string, strategy: string) =>
  only(await call<PeerResult[]>(address("peers/move"), "POST", { peerIds: [peerId], strategy, wait: WAIT }));
/** Lets a peer that moves stay on its node. */
export const cancelMove = (peerId: string) => call<Peer>(address(`peers/${peerId}/move`), "DELETE");
export const movePeers = (chosen: Peer[], strategy: string) => inBatches(chosen, "peers/move", { strategy });
export const removePeers = (chosen: Peer[]) => inBatches(chosen, "peers/remove", {});
/** Moves all peers of a node to the others; answers why some stay. */
export async function movePeersAway(nodeId: string): Promise<string[]> {
  const all = await call<Peer[]>(address("peers"));
  const there = all.filter((one) => one.nodeId === nodeId && one.movingTo === null && one.state !== "leaving");
  const failed = await movePeers(there, "auto");
  return there.flatMap(({ peerId, name }) => (failed.has(peerId) ? [`${name} stays: ${failed.get(peerId)?.detail}`] : []));
}
export const peerConfig = (peerId: string) => call<PeerConfig>(address(`peers/${peerId}/config`));

/** The failures by peer. A batch without an answer fails for all of its peers; the others are sent all the same. */
async function inBatches(chosen: Peer[], word: string, more: object): Promise<Map<string, Failure>> {
  const failed = new Map<string, Failure>();
  for (let first = 0; first < chosen.length; first += BATCH) {
    const batch = chosen.slice(first, first + BATCH);
    const body = { peerIds: batch.map((one) => one.peerId), ...more };
    try {
      for (const { item, error } of await call<PeerResult[]>(address(word), "POST", body)) {
        const peer = batch[item];
        if (error && peer) failed.set(peer.peerId, ofItem(error));
      }
    } catch (thrown) {
      for (const { peerId } of batch) failed.set(peerId, Failure.from(thrown));
    }
  }
  return failed;
}

const ofItem = ({ detail, hint, sqlstate }: ItemError) => new Failure(409, detail, hint ?? undefined, sqlstate);

/** The result of a batch of one. */
function only(results: PeerResult[]): Peer {
  const [result] = results;
  // Fields without a value are null in an answer.
  if (result?.peer) return result.peer as Peer;
  throw result?.error ? ofItem(result.error) : new Failure(0, "the gateway answered without a peer");
}
