// Facts about a device that follow from its lines in the list of devices.
import type { Device } from "../../api/types";

/** online: its agent was heard within minutes; that says nothing about who else can reach it. */
export type DeviceState = "online" | "late" | "silent" | "revoked" | "released";

const MINUTE = 60_000;
/** An agent calls at least every minute or two; a laptop that sleeps is silent. */
const ONLINE = 5 * MINUTE;
const LATE = 30 * MINUTE;

export function stateOf(device: Device, now: number): DeviceState {
  if (device.revokedAt) return "revoked";
  if (!device.nebulaIp) return "released";
  if (!device.lastSeenAt) return "silent";
  const silence = now - Date.parse(device.lastSeenAt);
  return silence < ONLINE ? "online" : silence < LATE ? "late" : "silent";
}

export interface Row extends Device {
  state: DeviceState;
  /** Those of all its pools: a device has one of each family. */
  addresses: string[];
}

/** A row per device; the gateway answers one per address. */
export function rowsOf(devices: Device[], now: number): Row[] {
  const rows = new Map<string, Row>();
  for (const device of devices) {
    const addresses = device.nebulaIp ? [device.nebulaIp] : [];
    const before = rows.get(device.deviceId);
    if (before) before.addresses.push(...addresses);
    else rows.set(device.deviceId, { ...device, addresses, state: stateOf(device, now) });
  }
  return [...rows.values()];
}

export type Column = "name" | "address" | "certificate" | "seen";

/** Addresses sort by their numbers, not their digits. */
const padded = (address: string | null) => (address ?? "").replace(/\d+/g, (digits) => digits.padStart(5, "0"));
const keys: Record<Column, (row: Row) => string> = {
  name: (row) => row.name.toLowerCase(),
  address: (row) => padded(row.nebulaIp),
  certificate: (row) => row.certificateNotAfter ?? "",
  seen: (row) => row.lastSeenAt ?? "",
};

/** Sorted by a column; `-name` is descending. */
export function sorted(rows: Row[], by: string): Row[] {
  const descending = by.startsWith("-");
  const key = keys[by.replace("-", "") as Column] ?? keys.name;
  const factor = descending ? -1 : 1;
  return rows
    .map((row) => ({ row, key: key(row) }))
    .sort((one, other) => factor * (one.key < other.key ? -1 : one.key > other.key ? 1 : 0))
    .map(({ row }) => row);
}

/** All groups that devices are in, by name. */
export const groupsOf = (rows: { groups: string[] }[]) => [...new Set(rows.flatMap((row) => row.groups))].sort();
