// Effects of firewall rules. In a project that is open inbound they change nothing; in a closed one they alone let packets in.
import type { Rule } from "../../api/types";

/** What a rule sees of a device. */
export interface Party {
  deviceId: string;
  groups: string[];
}

/** "tcp 22", "udp 1000–2000", "ping", "everything". */
export function portsOf({ protocol, portFirst, portLast }: Pick<Rule, "protocol" | "portFirst" | "portLast">): string {
  if (protocol === "icmp") return "ping";
  if (portFirst == null) return protocol === "any" ? "everything" : `all ${protocol}`;
  const ports = portLast != null && portLast !== portFirst ? `${portFirst}–${portLast}` : `${portFirst}`;
  return protocol === "any" ? `port ${ports}` : `${protocol} ${ports}`;
}

/** Whether a device is one of those that the rule is for. */
export const isFor = (rule: Rule, party: Party) =>
  rule.forDevice ? rule.forDevice === party.deviceId : rule.forGroup ? party.groups.includes(rule.forGroup) : true;

/** Whether the rule lets packets of a device in. */
export function isFrom(rule: Rule, party: Party): boolean {
  if (rule.remoteDevice) return rule.remoteDevice === party.deviceId;
  // A network is one of addresses, which say nothing about groups.
  if (rule.remoteCidr) return false;
  return (rule.remoteGroups ?? []).every((group) => party.groups.includes(group));
}

const inbound = (rules: Rule[]) => rules.filter((rule) => rule.direction === "inbound");

/** Rules by which a device is reached, and those by which it reaches others. */
export const reachedBy = (rules: Rule[], party: Party) => inbound(rules).filter((rule) => isFor(rule, party));
export const reaches = (rules: Rule[], party: Party) => inbound(rules).filter((rule) => isFrom(rule, party));

/** The group that stands for any device in the matrix. */
export const ANY = "*";

export interface Cell {
  from: string;
  to: string;
  rules: Rule[];
}

/** The rules between groups: a row per group that packets come from, a column per group that they go to. */
export function matrix(rules: Rule[], groups: string[]): Cell[][] {
  const names = [...groups, ANY];
  const isOf = (rule: Rule) => !rule.forDevice && !rule.remoteDevice && !rule.remoteCidr;
  const goes = (rule: Rule, to: string) => (to === ANY ? !rule.forGroup : !rule.forGroup || rule.forGroup === to);
  const comes = (rule: Rule, from: string) => (rule.remoteGroups ?? []).every((group) => group === from);
  return names.map((from) => names.map((to) => ({ from, to, rules: inbound(rules).filter((rule) => isOf(rule) && goes(rule, to) && comes(rule, from)) })));
}

/** What a cell says: nothing, everything, or the ports. */
export function summary(rules: Rule[]): string {
  if (rules.length === 0) return "–";
  const ports = [...new Set(rules.map(portsOf))];
  return ports.includes("everything") ? "everything" : ports.join(", ");
}
