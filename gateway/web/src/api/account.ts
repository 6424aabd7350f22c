import { address, call } from "./call";
import type { Identity, Session } from "./types";

export const meAt = () => address("auth/me");
export const me = () => call<Identity>(meAt());
export const accountsAt = () => address("accounts", { max: 1000 });
export const changeAccount = (accountId: string, changes: { role?: "admin" | "member"; disabled?: boolean }) =>
  call<unknown>(address(`accounts/${accountId}`), "PATCH", changes);
export const deleteAccount = (accountId: string) => call<unknown>(address(`accounts/${accountId}`), "DELETE");
export const sessionsOf = (accountId: string) => call<Session[]>(address(`accounts/${accountId}/sessions`));

export const sessionsAt = () => address("sessions");
export const endSession = (sessionId: string) => call<unknown>(address(`sessions/${sessionId}`), "DELETE");
/** Ends all sessions of this account but the present one; answers how many. */
export const endOtherSessions = () => call<number>(sessionsAt(), "DELETE");
