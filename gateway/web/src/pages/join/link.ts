// The link of an invitation: the code, and the sum by which the command knows the gateway's program, behind a #.

export const linkOf = (server: string, code: string, sha256: string | null) => `${server}/join#${[code, sha256].filter(Boolean).join(".")}`;

export function inFragment(fragment: string): { code: string; sha256: string } {
  const [, code = "", sha256 = ""] = /^#([A-Za-z0-9-]+)(?:\.([0-9a-f]{64}))?$/.exec(fragment) ?? [];
  return { code, sha256 };
}

/** The gateway's address for other machines, as the enrolment's own link names it. */
export const serverOf = (url: string) => new URLSearchParams(url.split("?")[1] ?? "").get("server") ?? "";

/** Whether only this very machine opens the address. */
export const isLocal = (server: string) => /^https?:\/\/(localhost|127\.|\[::1\])/.test(server);
