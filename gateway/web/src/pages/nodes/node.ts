// How a node is described to administrators.
import type { Drift, HostNode, InterfaceValues, NodeInterface } from "../../api/types";
import { isUnsafe, words } from "../../text/line";

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

/** The tooltip of a state. */
export const meaning: Record<Shown, string> = {
  healthy: "Its last report is recent",
  late: "Its reports are overdue; it takes no new peers",
  lost: "Without a report for so long that its peers should move",
  unknown: "It has never reported",
  draining: "It takes no new peers, and those it has are to move",
  disabled: "It takes no new peers; those it has stay",
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

/** What it says, and the command that helps, if it ends with one. */
export function obstacle(text: string): { text: string; command: string | null } {
  const [, said = text, command = null] = /^(.*?): ((?:sudo |sysctl|iptables|ip6tables|ufw|firewall-cmd|nft|modprobe|apt).*)$/.exec(text) ?? [];
  return { text: said, command };
}

/** How far the agent of a node is with an interface. */
export function progress(one: NodeInterface): string {
  if (one.publicKey === null) return "not reported yet";
  const behind = one.generation - one.acknowledgedGeneration;
  return behind <= 0 ? "as wanted" : `${behind} ${behind === 1 ? "change is" : "changes are"} not confirmed`;
}

/** The fields of the form of an interface, as text. */
export interface InterfaceForm {
  name: string;
  listenPort: string;
  endpoint: string;
  mtu: string;
  dns: string;
  keepalive: string;
  cidr: string;
}

/** The endpoint of an interface without one of its own: wg0 is behind the node's, others on the same host. */
export function inherited(nodeEndpoint: string, name: string, listenPort: string): string {
  return name === "wg0" ? nodeEndpoint : `${nodeEndpoint.slice(0, nodeEndpoint.lastIndexOf(":"))}:${listenPort.trim()}`;
}

export function interfaceForm(nodeEndpoint: string, one?: NodeInterface): InterfaceForm {
  return {
    name: one?.name ?? "",
    listenPort: String(one?.listenPort ?? 51820),
    endpoint: one?.endpoint && one.endpoint !== inherited(nodeEndpoint, one.name, String(one.listenPort)) ? one.endpoint : "",
    mtu: String(one?.mtu ?? 1280),
    dns: one?.dns.join(", ") ?? "",
    keepalive: String(one?.keepalive ?? 25),
    cidr: "",
  };
}

const number = (text: string, least: number, most: number) => /^\d{1,5}$/.test(text.trim()) && Number(text) >= least && Number(text) <= most;

/** What is wrong with the form; null: nothing. */
export function interfaceProblem(form: InterfaceForm): string | null {
  if (!/^[a-z0-9][a-z0-9-]{0,14}$/.test(form.name)) return "A name is up to 15 of a-z, 0-9 and -, such as wg0.";
  if (!number(form.listenPort, 1, 65535)) return "A port is 1 to 65535.";
  if (!number(form.mtu, 1280, 9000)) return "The MTU is 1280, which IPv6 needs, to 9000.";
  if (!number(form.keepalive, 0, 65535)) return "Keep-alive is a number of seconds; 0 is none.";
  if ([form.endpoint, form.dns, form.cidr].some(isUnsafe)) return "Each field is one line without control characters.";
  return null;
}

/** What may be meant otherwise: the port that clients send to is not the one that the interface listens on. */
export function interfaceWarning(form: InterfaceForm, nodeEndpoint: string): string | null {
  const endpoint = form.endpoint.trim() || inherited(nodeEndpoint, form.name, form.listenPort);
  const port = endpoint.slice(endpoint.lastIndexOf(":") + 1);
  return port === form.listenPort.trim() ? null : `Peers connect to ${endpoint}, which has to lead to UDP port ${form.listenPort} of the node.`;
}

/** The values that the form changes; those of a new interface are all sent. */
export function interfaceChanges(form: InterfaceForm, before: InterfaceForm, isNew: boolean): InterfaceValues {
  const changed = (field: keyof InterfaceForm) => isNew || form[field].trim() !== before[field];
  return {
    ...(changed("listenPort") && { listenPort: Number(form.listenPort) }),
    ...(changed("endpoint") && { endpoint: form.endpoint.trim() || null }),
    ...(changed("mtu") && { mtu: Number(form.mtu) }),
    ...(changed("dns") && { dns: words(form.dns) }),
    ...(changed("keepalive") && { keepalive: Number(form.keepalive) }),
    ...(form.cidr.trim() && { cidr: form.cidr.trim() }),
  };
}
