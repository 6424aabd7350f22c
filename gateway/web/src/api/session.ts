// The session. The access token lives in memory only. The refresh token has to outlive a reload: by
// default it is in sessionStorage, which ends with the tab; on request ("keep me signed in") in localStorage,
// because then the next user of this browser is signed in too. Both are readable by scripts of this
// origin, which is why the policy lets no foreign script in and why each token is valid for one exchange.
import { ref } from "vue";
import { session as words } from "../text/en/session";
import { Failure, reach } from "./failure";
import type { TokenPair } from "./types";

const KEY = "nebula.refresh";
/** Beside the token, so that a copied tab has both: by it the gateway knows this browser again when it repeats an exchange. */
const RETRY_KEY = "nebula.refresh.key";
/** Milliseconds before expiry at which a token counts as expired: it has to survive the way to the gateway. */
const MARGIN = 15_000;

let access: { token: string; until: number } | null = null;
let pending: Promise<string> | null = null;

const read = (key: string) => sessionStorage.getItem(key) ?? localStorage.getItem(key);
const stored = () => read(KEY);

export const signedIn = ref(stored() !== null);
/** Why the person has to sign in again, when it was not their own doing in this tab. */
export const ended = ref("");

/** Messages between tabs. */
type Told = { old: string; pair: TokenPair } | { ended: string };

// A duplicated tab starts with a copy of the refresh token. Without this, the second exchange of that copy
// would look like theft and end both sessions. A tab in which somebody signs out ends the others at once.
const tabs = new BroadcastChannel("nebula.session");
tabs.onmessage = ({ data }: MessageEvent<Told>) => {
  if ("ended" in data) {
    if (stored() === data.ended || stored() === null) forget(words.elsewhere);
  } else if (stored() === data.old) keep(data.pair);
};
const tell = (told: Told) => tabs.postMessage(told);

function keep(pair: TokenPair, remember = localStorage.getItem(KEY) !== null) {
  access = { token: pair.accessToken, until: Date.now() + pair.expiresIn * 1000 - MARGIN };
  const [chosen, other] = remember ? [localStorage, sessionStorage] : [sessionStorage, localStorage];
  chosen.setItem(KEY, pair.refreshToken);
  chosen.setItem(RETRY_KEY, randomKey());
  other.removeItem(KEY);
  other.removeItem(RETRY_KEY);
  signedIn.value = true;
}

/** crypto.randomUUID exists on https and localhost only. */
const randomKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

function forget(reason: string) {
  if (!signedIn.value) return;
  access = null;
  for (const store of [sessionStorage, localStorage]) {
    store.removeItem(KEY);
    store.removeItem(RETRY_KEY);
  }
  ended.value = reason;
  signedIn.value = false;
}

const post = (path: string, body: unknown, headers: Record<string, string> = {}) =>
  reach(path, { method: "POST", headers: { "Content-Type": "application/json", ...headers }, body: JSON.stringify(body) });

/** `code` is that of an authenticator; the gateway refuses with reason second-factor where one is missing. */
export async function signIn(username: string, password: string, remember: boolean, code?: string): Promise<void> {
  const answer = await post("/api/auth/login", { username, password, code });
  if (!answer.ok) throw await Failure.of(answer);
  ended.value = "";
  keep((await answer.json()) as TokenPair, remember);
}

/** Ends the session here at once, and at the gateway if it can be reached. */
export async function signOut(): Promise<void> {
  const refreshToken = stored();
  const bearer = access ? { Authorization: `Bearer ${access.token}` } : undefined;
  forget("");
  if (!refreshToken) return;
  tell({ ended: refreshToken });
  await fetch("/api/auth/logout", {
    method: "POST",
    headers: { "Content-Type": "application/json", ...bearer },
    body: JSON.stringify({ refreshToken }),
  }).catch(() => undefined);
}

/** An access token that is not about to expire. */
export function token(): Promise<string> {
  return access && Date.now() < access.until ? Promise.resolve(access.token) : renew(access?.token);
}

/** Another token than `stale`, which was refused. Callers at the same time share one exchange. */
export function renew(stale?: string): Promise<string> {
  if (access && access.token !== stale) return Promise.resolve(access.token);
  // Tabs that share localStorage take turns; the lock exists on https and localhost only, and elsewhere
  // the gateway's grace for a token used twice covers the race.
  const turn = async () => await (navigator.locks?.request("nebula.refresh", exchange) ?? exchange());
  return (pending ??= turn().finally(() => (pending = null)));
}

async function exchange(): Promise<string> {
  const old = stored();
  if (old === null) {
    forget(words.elsewhere);
    throw new Failure(401, words.signedOut, words.again);
  }
  const key = read(RETRY_KEY);
  const answer = await post("/api/auth/refresh", { refreshToken: old }, key ? { "Idempotency-Key": key } : {});
  if (answer.ok) {
    const pair = (await answer.json()) as TokenPair;
    // Signed out while the answer was on its way: it stays that way.
    if (stored() === old) keep(pair);
    tell({ old, pair });
    return pair.accessToken;
  }
  const failure = await Failure.of(answer);
  // Only a refusal ends the session; a gateway that is down or busy does not.
  if ([400, 401, 403].includes(answer.status)) forget(words.reason(failure.reason));
  throw failure;
}
