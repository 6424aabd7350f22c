// Things that somebody has to do something about, the worst first.
import type { RouteLocationRaw } from "vue-router";
import type { Authority, HostNode, Job, PoolUsage, System } from "../../api/types";
import { ago, bytes, percent, share } from "../../text/format";
import { overview } from "../../text/en/overview";
import type { Row } from "../devices/device";

const words = overview.need;
const DAY = 86_400_000;
/** Days before the end of an authority at which its replacement has to begin. */
const AUTHORITY_DAYS = 30;
const RENEWAL = 14 * DAY;
const POOL_FULL = 0.9;
const BATTERY_LOW = 30;

export interface Need {
  /** 2: something does not work; 1: it soon will not. */
  weight: 1 | 2;
  text: string;
  to: RouteLocationRaw;
}

export interface Known {
  devices: Row[];
  nodes: HostNode[];
  pools: PoolUsage[];
  jobs: Job[];
  authorities: Authority[];
  system: System | null;
  now: number;
}

/** Devices with a certificate that an agent should have renewed. */
function certificates({ devices, now }: Known): Need[] {
  const live = devices.filter((one) => one.nebulaIp && !one.revokedAt && one.certificateNotAfter);
  const left = (one: Row) => Date.parse(one.certificateNotAfter ?? "") - now;
  const to: RouteLocationRaw = { name: "devices", query: { sort: "certificate" } };
  const expired = live.filter((one) => left(one) <= 0);
  const soon = live.filter((one) => left(one) > 0 && left(one) < RENEWAL);
  return [
    ...(expired.length ? [{ weight: 2 as const, text: words.expired(expired.length, expired[0]?.name ?? ""), to }] : []),
    ...(soon.length ? [{ weight: 1 as const, text: words.renew(soon.length, soon[0]?.name ?? ""), to }] : []),
  ];
}

function lighthouses({ devices }: Known): Need[] {
  const live = devices.filter((one) => !one.revokedAt && one.nebulaIp);
  if (live.length === 0) return [];
  const found = live.filter((one) => one.role === "lighthouse");
  if (found.length === 0) return [{ weight: 2, text: words.lighthouse, to: { name: "invite" } }];
  return found.every((one) => one.state === "silent") ? [{ weight: 2, text: words.lighthouseSilent, to: { name: "devices", query: { q: "lighthouse" } } }] : [];
}

function server({ system }: Known): Need[] {
  if (!system) return [];
  const { disks, power, storage } = system;
  const damaged = storage ? storage.missing + storage.changed : 0;
  return [
    ...disks.filter((one) => one.free <= one.reserve).map((one) => ({ weight: 2 as const, text: words.disk(one.name, bytes(one.free)), to: { name: "trash" } })),
    ...(damaged ? [{ weight: 2 as const, text: words.storage(damaged), to: { name: "library" } }] : []),
    ...(power?.onBattery && (power.batteryPercent ?? 100) < BATTERY_LOW ? [{ weight: 2 as const, text: words.battery(power.batteryPercent ?? 0), to: { name: "overview" } }] : []),
  ];
}

export function needs(known: Known): Need[] {
  const { nodes, pools, jobs, authorities, now } = known;
  const dead = jobs.filter((one) => one.state === "dead").length;
  const found: Need[] = [
    ...authorities.filter((one) => one.projects.length > 0 && one.daysLeft < AUTHORITY_DAYS).map((one) => ({ weight: 2 as const, text: words.authority(one.name, one.daysLeft), to: { name: "settings", params: { tab: "authorities" } } })),
    ...server(known),
    ...lighthouses(known),
    ...nodes.filter((one) => one.state === "lost" && one.desiredState === "active").map((one) => ({ weight: 2 as const, text: words.nodeLost(one.name, one.seenAt ? ago(one.seenAt, now) : "never"), to: { name: "nodes" } })),
    ...nodes.flatMap((one) => one.interfaces.filter((each) => each.error).slice(0, 1).map((each) => ({ weight: 2 as const, text: words.nodeError(one.name, each.error ?? ""), to: { name: "nodes" } }))),
    ...certificates(known),
    ...pools.filter((one) => one.enabled && 1 - share(one.free, one.size) >= POOL_FULL).map((one) => ({ weight: one.free === "0" ? (2 as const) : (1 as const), text: words.pool(one.name, percent(1 - share(one.free, one.size))), to: { name: "pools" } })),
    ...(dead ? [{ weight: 1 as const, text: words.jobs(dead), to: { name: "jobs", query: { state: "dead" } } }] : []),
  ];
  return found.sort((one, other) => other.weight - one.weight);
}
