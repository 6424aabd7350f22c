// An account changes itself, and invites others.
import { address, call } from "./call";
import type { NewInvitation, NewTotp, ProjectRole, RecoveryCodes } from "./types";

/** Ends the other sessions. */
export const changePassword = (oldPassword: string, newPassword: string) => call<unknown>(address("account/password"), "PUT", { oldPassword, newPassword });

export const totpAt = () => address("account/totp");
export const beginTotp = (password: string) => call<NewTotp>(totpAt(), "POST", { password });
/** A code of the authenticator turns it on; answers the codes for its loss. */
export const confirmTotp = (code: string) => call<RecoveryCodes>(totpAt(), "PUT", { code });
export const endTotp = (password: string) => call<unknown>(address("account/totp/end"), "POST", { password });

export const invitationsAt = (projectId: string) => address(`projects/${projectId}/invitations`);
export const invite = (projectId: string, role: ProjectRole, note: string) =>
  call<NewInvitation>(invitationsAt(projectId), "POST", { role, ...(note && { note }) });
export const endInvitation = (invitationId: string) => call<unknown>(address(`invitations/${invitationId}`), "DELETE");
