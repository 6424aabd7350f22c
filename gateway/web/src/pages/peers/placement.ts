// The selector "Where": which node serves a peer. Pure: the nodes are an argument.
import type { EnabledNode } from "../../api/types";

export const AUTO = "auto";
export const LOCAL = "local";

export interface Place {
  /** The strategy that is sent: auto, local, or node:ID. */
  value: string;
  label: string;
  /** What choosing it means, now. */
  help: string;
  disabled: boolean;
}

const load = (node: EnabledNode) => `${node.activePeers} of ${node.maxPeers} peers`;
const remote = (nodes: EnabledNode[]) => nodes.filter((node) => !node.local);

/** The node that "auto" would take now: the lowest score, ties by name. */
export function next(nodes: EnabledNode[]): EnabledNode | undefined {
  const eligible = remote(nodes).filter((node) => node.eligible);
  return eligible.sort((a, b) => a.score - b.score || (a.name < b.name ? -1 : 1))[0];
}

function auto(nodes: EnabledNode[] | null): string {
  if (nodes === null) return "The server chooses the node with the lowest load when you save.";
  const best = next(nodes);
  if (best) return `${best.name} now: ${load(best)}, the lowest score. Decided when you save.`;
  if (remote(nodes).length === 0) return "There are no nodes yet, so this server serves it.";
  const reasons = remote(nodes).map((node) => `${node.name}: ${node.reason ?? "takes none"}`);
  return `No node takes peers now (${reasons.join("; ")}).`;
}

function local(nodes: EnabledNode[] | null): string {
  const here = nodes?.find((node) => node.local);
  if (here?.reason) return `This server's own WireGuard interface: ${here.reason}.`;
  return here ? `This server's own WireGuard interface: ${here.activePeers} peers here now.` : "This server's own WireGuard interface.";
}

/** Auto, this server, and each enabled node. null: the nodes cannot be read; the first two stay possible. */
export function places(nodes: EnabledNode[] | null, without?: string | null): Place[] {
  const fixed: Place[] = [
    { value: AUTO, label: "Auto (load balanced)", help: auto(nodes), disabled: false },
    { value: LOCAL, label: "Local (this server)", help: local(nodes), disabled: false },
  ];
  const chosen = remote(nodes ?? []).filter((node) => node.nodeId !== without);
  return [
    ...fixed,
    ...chosen.map((node) => ({
      value: `node:${node.nodeId}`,
      label: node.eligible ? `${node.name} (${node.activePeers} of ${node.maxPeers})` : `${node.name} (${node.reason ?? "takes no peers"})`,
      help: node.eligible ? `On ${node.name}, which has ${load(node)}.` : `${node.name} takes no peers: ${node.reason ?? "no reason given"}.`,
      disabled: !node.eligible,
    })),
  ];
}
