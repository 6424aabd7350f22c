import type { Device } from "../../api/types";
import type { IconName } from "../../parts/icons";
import type { DeviceState } from "./device";

const ICONS: Record<Device["role"], IconName> = { host: "device", lighthouse: "lighthouse", relay: "relay" };
export const iconOf = ({ role }: Pick<Device, "role">): IconName => ICONS[role];

const TONES = { online: "good", late: "warn", silent: "idle", revoked: "bad", released: "idle" } as const;
export const toneOf = (state: DeviceState) => TONES[state];
