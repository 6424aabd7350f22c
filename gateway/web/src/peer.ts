// How a peer is described. Pure: the present moment is an argument.
import type { Peer, PeerState } from "./api/types";

/** Milliseconds after a handshake in which a peer counts as online: WireGuard renews it every two minutes. */
const ONLINE = 180_000;

export const isOnline = (peer: Peer, now: number) => peer.handshakeAt !== null && now - Date.parse(peer.handshakeAt) < ONLINE;

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
