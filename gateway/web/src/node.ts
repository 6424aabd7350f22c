// How a node is described to administrators.
import type { Drift, HostNode } from "./api/types";

export type Shown = HostNode["state"] | "draining" | "disabled";

/** An administrator's wish comes before the age of the reports. */
export const state = (node: HostNode): Shown => (node.desiredState === "active" ? node.state : node.desiredState);

export const tone: Record<Shown, string> = {
  healthy: "good",
  late: "warn",
  lost: "bad",
  unknown: "",
  draining: "busy",
  disabled: "",
};

/** Whether Auto would take this node now, among those of its project. */
export function isNext(node: HostNode, nodes: HostNode[]): boolean {
  if (!node.eligible || node.local) return false;
  const better = (other: HostNode) => other.score < node.score || (other.score === node.score && other.name < node.name);
  return !nodes.some((other) => other.eligible && !other.local && other.project === node.project && better(other));
}

/** A difference between an interface and what is wanted. */
export function difference(interfaceName: string, drift: Drift): string {
  const ips = drift.allowedIps?.join(", ") || "no addresses";
  switch (drift.kind) {
    case "unknown":
      return `${interfaceName} has a peer that is not wanted: ${drift.publicKey} (${ips})`;
    case "missing":
      return `${interfaceName} lacks the peer ${drift.publicKey}`;
    case "allowedIps":
      return `${interfaceName} has other addresses for ${drift.publicKey}: ${ips}`;
    case "presharedKey":
      return `${interfaceName} has another preshared key for ${drift.publicKey}`;
  }
}
