import { expect, test } from "vitest";
import type { Peer } from "./api/types";
import { isUnsafe, words } from "./line";
import { isOnline } from "./peer";

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
