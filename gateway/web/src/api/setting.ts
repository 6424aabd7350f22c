import { address, call } from "./call";

export const rotationsAt = () => address("rotations");
/** Begins to replace the authority of a project. */
export const beginRotation = (projectId: string, fingerprint: string) => call<unknown>(rotationsAt(), "POST", { projectId, fingerprint });
/** force: goes on without devices that have not acknowledged. */
export const changeRotation = (projectId: string, change: "force" | "cancel") => call<unknown>(address(`rotations/${projectId}/${change}`), "POST");

export const quotasAt = () => address("quotas");
/** maxBytes: null takes the limit away. */
export const setQuota = (subject: string, id: string, maxBytes: number | null) => call<unknown>(address(`quotas/${subject}/${id}`), "PUT", { maxBytes });
