import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

/** A browser store of a single page. */
function memory(): Storage {
  const map = new Map<string, string>();
  return {
    getItem: (key: string) => map.get(key) ?? null,
    setItem: (key: string, value: string) => void map.set(key, value),
    removeItem: (key: string) => void map.delete(key),
  } as Storage;
}

const KEY = "nebula.refresh";
let serial = 0;
let refreshes: string[];
/** Keys by which the gateway knows a client again that repeats an exchange. */
let keys: (string | null)[];
let reason: string | undefined;
let status: number;
let valid: string;

/** The gateway's three routes: each refresh token is good once, only the newest access token is accepted. */
async function gateway(path: string, init: RequestInit): Promise<Response> {
  const body = init.body ? (JSON.parse(init.body as string) as Record<string, string>) : {};
  const pair = () => {
    valid = `access-${++serial}`;
    return Response.json({ accessToken: valid, refreshToken: `refresh-${serial}`, expiresIn: 900 });
  };
  if (path === "/api/auth/login") return pair();
  if (path === "/api/auth/refresh") {
    refreshes.push(body.refreshToken ?? "");
    keys.push(new Headers(init.headers).get("Idempotency-Key"));
    await Promise.resolve();
    if (status === 200) return pair();
    return Response.json({ success: false, error: "x", sqlstate: "28000", detail: "ended", hint: "h", reason }, { status });
  }
  const bearer = new Headers(init.headers).get("Authorization");
  return bearer === `Bearer ${valid}` ? Response.json({ success: true, data: path }) : new Response("", { status: 401 });
}

const load = async () => {
  const [session, { call }, { devicesAt }, { projects }, { me }] = await Promise.all([import("./session"), import("./call"), import("./device"), import("./project"), import("./account")]);
  return { session, client: { projects, me, devices: (projectId: string) => call<unknown>(devicesAt(projectId)) } };
};

beforeEach(() => {
  refreshes = [];
  keys = [];
  reason = undefined;
  status = 200;
  vi.resetModules();
  vi.stubGlobal("sessionStorage", memory());
  vi.stubGlobal("localStorage", memory());
  vi.stubGlobal("navigator", {});
  vi.stubGlobal("BroadcastChannel", class { postMessage() {} });
  vi.stubGlobal("fetch", vi.fn(gateway));
});
afterEach(() => vi.unstubAllGlobals());

describe("session", () => {
  it("keeps the refresh token for the tab, or for the device when asked to", async () => {
    const { session } = await load();
    await session.signIn("ada", "x", false);
    expect([sessionStorage.getItem(KEY), localStorage.getItem(KEY)]).toEqual([`refresh-${serial}`, null]);
    await session.signIn("ada", "x", true);
    expect([sessionStorage.getItem(KEY), localStorage.getItem(KEY)]).toEqual([null, `refresh-${serial}`]);
    await session.renew(await session.token());
    expect([sessionStorage.getItem(KEY), localStorage.getItem(KEY)]).toEqual([null, `refresh-${serial}`]);
  });

  it("refreshes once for many refused requests", async () => {
    const { session, client } = await load();
    await session.signIn("ada", "x", false);
    valid = "revoked";
    const answers = await Promise.all([client.projects(), client.me(), client.devices("p")]);
    expect(answers).toEqual(["/api/projects", "/api/auth/me", "/api/devices?projectId=p"]);
    expect(refreshes).toHaveLength(1);
  });

  it("goes on after a reload with the stored token", async () => {
    sessionStorage.setItem(KEY, "kept");
    const { session, client } = await load();
    expect(session.signedIn.value).toBe(true);
    await client.me();
    expect(refreshes).toEqual(["kept"]);
  });

  it("ends when the refresh token is refused, and says so", async () => {
    sessionStorage.setItem(KEY, "old");
    status = 401;
    const { session, client } = await load();
    await expect(client.me()).rejects.toMatchObject({ status: 401, detail: "ended", hint: "h" });
    expect([session.signedIn.value, sessionStorage.getItem(KEY)]).toEqual([false, null]);
    expect(session.ended.value).not.toBe("");
  });

  it("says the true reason of the end in a sentence of its own for each", async () => {
    const sentences = new Set<string>();
    const reasons = [undefined, "expired", "ended", "signed-out", "reused", "password-changed", "disabled"];
    for (const one of reasons) {
      vi.resetModules();
      sessionStorage.setItem(KEY, "old");
      status = 401;
      reason = one;
      const { session, client } = await load();
      await expect(client.me()).rejects.toMatchObject({ status: 401 });
      sentences.add(session.ended.value);
    }
    expect(sentences.size).toBe(reasons.length);
  });

  it("repeats an exchange whose answer was lost with the same key, also in a copied tab, and takes another key for the next", async () => {
    const { session } = await load();
    await session.signIn("ada", "x", false);
    vi.mocked(fetch).mockImplementationOnce(async (path, init) => {
      await gateway(path as string, init as RequestInit);
      throw new TypeError("failed to fetch");
    });
    const old = await session.token();
    await expect(session.renew(old)).rejects.toMatchObject({ status: 0 });
    vi.resetModules();
    await (await load()).session.token();
    await (await load()).session.renew(`access-${serial}`);
    expect(refreshes.slice(0, 2)).toEqual([refreshes[0], refreshes[0]]);
    expect(keys[0]).toMatch(/^[0-9a-f]{32}$/);
    expect(keys[1]).toBe(keys[0]);
    expect(keys[2]).not.toBe(keys[0]);
  });

  it("survives a gateway that is down for a while", async () => {
    sessionStorage.setItem(KEY, "kept");
    status = 503;
    const { session, client } = await load();
    await expect(client.me()).rejects.toMatchObject({ status: 503 });
    vi.mocked(fetch).mockRejectedValueOnce(new TypeError("failed to fetch"));
    await expect(client.me()).rejects.toMatchObject({ status: 0 });
    expect([session.signedIn.value, sessionStorage.getItem(KEY)]).toEqual([true, "kept"]);
    status = 200;
    await client.me();
  });

  it("stays signed out when a refresh answers late", async () => {
    sessionStorage.setItem(KEY, "kept");
    const { session } = await load();
    const late = session.token();
    await session.signOut();
    await late;
    expect([session.signedIn.value, sessionStorage.getItem(KEY)]).toEqual([false, null]);
  });
});
