/** Why a session ended, by the word that the gateway gives. */
const REASONS: Record<string, string> = {
  ended: "This session was ended, by you on another device or by somebody who runs this system.",
  "signed-out": "You signed out in another tab.",
  expired: "This session has run its time.",
  "password-changed": "Your password was changed, which ended this session.",
  disabled: "This account is disabled. Somebody who runs this system can enable it.",
  deleted: "This account was deleted.",
  reused: "Your sign-in was used twice, so that it was ended: somebody else may have it. Sign in and change your password.",
};

export const session = {
  elsewhere: "You signed out in another tab.",
  signedOut: "You are signed out.",
  again: "Sign in again.",
  reason: (word?: string) => (word && REASONS[word]) ?? "Your session has ended.",
  goOn: "Sign in to go on; what you had typed is kept.",
};
