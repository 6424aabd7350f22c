// The bundle of a device with a key that is made in this browser, for a machine without an agent.
import { registerDevice } from "../../api/device";
import type { Device } from "../../api/types";
import { generateKeyPair } from "../peers/wireguard";
import { withKey } from "./bundle";

const bytesOf = (base64: string) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));

export type Fresh = Pick<Device, "projectId" | "deviceId" | "name" | "role" | "endpoints">;

/** Gives the device fresh certificates for a new key, and answers its files. The private key stays in this page. */
export async function makeBundle({ projectId, deviceId, name, role, endpoints }: Fresh): Promise<Uint8Array> {
  const { publicKey, privateKey } = await generateKeyPair();
  const { zipBundle } = await registerDevice({ projectId, deviceId, deviceName: name, role, endpoints, publicKey });
  return withKey(bytesOf(zipBundle), privateKey);
}

export function save(name: string, bytes: Uint8Array): void {
  const url = URL.createObjectURL(new Blob([bytes as Uint8Array<ArrayBuffer>], { type: "application/zip" }));
  Object.assign(document.createElement("a"), { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
