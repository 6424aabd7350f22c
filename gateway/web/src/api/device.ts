import { address, call } from "./call";
import type { Device, EnrolmentRequest, NewEnrolment, Registration, Revocation } from "./types";

export const devicesAt = (projectId: string) => address("devices", { projectId });
export const certificatesAt = (deviceId: string) => address("certificates", { deviceId });
export const revocationAt = (deviceId: string) => address(`devices/${deviceId}/revocation`);
export const enrolmentsAt = (projectId: string) => address("enrolments", { projectId });

export const setGroups = (deviceId: string, groups: string[]) => call<unknown>(address(`devices/${deviceId}/groups`), "PUT", { groups });
/** Shuts a device out for good: its certificates are refused by all others as soon as they know. */
export const revokeDevice = (deviceId: string) => call<Revocation>(address(`devices/${deviceId}/revoke`), "POST", {});
/** Gives the address of a device back. */
export const releaseDevice = (deviceId: string) => call<unknown>(address(`nebula/release/${deviceId}`), "POST");

/** Fresh certificates for a key that was made here, for a device that has no agent. */
export const registerDevice = (device: Pick<Device, "projectId" | "deviceId" | "role" | "endpoints"> & { deviceName: string; publicKey: string }) =>
  call<Registration>(address("nebula/register"), "POST", device);

export const makeEnrolment = (request: EnrolmentRequest) => call<NewEnrolment>(address("enrolments"), "POST", request);
export const revokeEnrolment = (enrolmentId: string) => call<unknown>(address(`enrolments/${enrolmentId}`), "DELETE");
/** Lets a device in that asked for it. */
export const approveDevice = (request: string, device: { projectId: string; name: string; role: string; groups: string[] }) =>
  call<unknown>(address("enrolments/approve", { request }), "POST", device);
