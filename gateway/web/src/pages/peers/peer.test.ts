import { expect, test } from "vitest";
import type { Peer } from "../../api/types";
import { isUnsafe, words } from "../../text/line";
import { isMine, isOnline, listed, outcome } from "./peer";

test("a peer is online for three minutes after its handshake", () => {
  const peer = (handshakeAt: string | null) => ({ handshakeAt }) as Peer;
  const now = Date.parse("2026-11-30T12:00:00Z");
  expect(isOnline(peer("2026-11-30T11:57:01Z"), now)).toBe(true);
  expect(isOnline(peer("2026-11-30T11:57:00Z"), now)).toBe(false);
  expect(isOnline(peer(null), now)).toBe(false);
});

test("line breaks and control characters are found, other letters are not", () => {
  for (const wrong of ["a\nb", "a\rb", "a\0", "\u001b[2J", "a\u2028b", "a\tb"]) expect(isUnsafe(wrong), JSON.stringify(wrong)).toBe(true);
  expect(isUnsafe("Annas Fernseher 📺 — Küche")).toBe(false);
});

test("words are separated by commas and blanks", () => {
  expect(words(" family, tv  guests\n")).toEqual(["family", "tv", "guests"]);
});

const peers = (...names: string[]) => names.map((name) => ({ name, createdBy: "ada" }) as Peer);

test("many peers are named by the first of them, and a result counts those that were changed", () => {
  expect(listed(peers("a", "b", "c"), 2)).toBe("a, b and 1 more");
  expect(outcome(peers("a"), 0, "is removed")).toBe("a is removed.");
  expect(outcome(peers("a", "b", "c"), 1, "are removed")).toMatch(/^2 of 3 peers are removed; /);
});

test("a peer is changed by administrators and by the account that created it", () => {
  const [peer] = peers("a") as [Peer];
  const account = (username: string, role: "admin" | "member") => ({ accountId: "", username, role });
  expect([account("eve", "member"), account("ada", "member"), account("bob", "admin"), null].map((me) => isMine(peer, me))).toEqual([
    false,
    true,
    true,
    false,
  ]);
});
