// A peer that is being created: its identifier and its keys stay the same until the gateway has said what
// became of it. A second request then finds the peer of the first, and the private key is not lost with an answer.
import type { Failure } from "../../api/failure";
import { generateKeyPair } from "./wireguard";

export interface Attempt {
  peerId: string;
  publicKey: string;
  /** null: its owner has it. */
  privateKey: string | null;
}

/** ownKey: the public key of a pair that its owner made; null: a pair is made here. */
export async function newAttempt(ownKey: string | null): Promise<Attempt> {
  if (ownKey !== null) return { peerId: randomId(), publicKey: ownKey, privateKey: null };
  return { peerId: randomId(), ...(await generateKeyPair()) };
}

/** The attempt of the next request. After a refusal there is no peer, and its identifier may be in use until a node
 * has let it go. */
export const after = (attempt: Attempt, failure: Failure): Attempt | null => (failure.isRefusal ? null : attempt);

/** A random UUID; crypto.randomUUID exists on https and localhost only. */
function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
