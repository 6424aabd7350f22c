// How a peer is described. Pure: the present moment is an argument.
import type { Identity, Peer, PeerState } from "../../api/types";

/** Milliseconds after a handshake in which a peer counts as online: WireGuard renews it every two minutes. */
const ONLINE = 180_000;

export const isOnline = (peer: Peer, now: number) => peer.handshakeAt !== null && now - Date.parse(peer.handshakeAt) < ONLINE;

/** Whether an account may change a peer: administrators, and the account that created it. */
export const isMine = (peer: Peer, me: Identity | null) => me?.role === "admin" || me?.username === peer.createdBy;

export const tone: Record<PeerState, string> = {
  pending: "busy",
  active: "good",
  drifted: "warn",
  refused: "bad",
  moving: "busy",
  disabled: "",
  leaving: "",
  unconfirmed: "warn",
};

/** The tooltip of a state. */
export const meaning: Record<PeerState, string> = {
  pending: "Its node has not confirmed it yet",
  active: "Its node lets it in",
  drifted: "Its node has something else than is wanted",
  refused: "Its node refused it",
  moving: "It stays on its node until it connects to the other one with its new .conf",
  disabled: "Kept out until it is enabled, or expired",
  leaving: "Its node has not confirmed yet that it is gone",
  unconfirmed: "Its node does not report, so nothing is known",
};

export const reach = (peer: Peer) => ({ overlay: "overlay only", all: "all traffic", listed: peer.networks.join(", ") })[peer.reach];

/** A name, or the number of peers. */
export const named = (peers: Peer[]) => (peers.length === 1 ? `${peers[0]?.name}` : `${peers.length} peers`);

/** The first names of many, and how many more there are. */
export function listed(peers: Peer[], shown = 8): string {
  const names = peers.slice(0, shown).map((peer) => peer.name);
  const more = peers.length - names.length;
  return more > 0 ? `${names.join(", ")} and ${more} more` : names.join(", ");
}

/** "12 of 15 peers are removed; the others are still selected, each with its reason." */
export function outcome(peers: Peer[], failed: number, done: string): string {
  if (failed === 0) return `${named(peers)} ${done}.`;
  return `${peers.length - failed} of ${peers.length} peers ${done}; the others are still selected, each with its reason.`;
}
