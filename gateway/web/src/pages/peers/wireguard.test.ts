import { expect, test } from "vitest";
import { fileName, fillConf, generateKeyPair, isKey, qrLevel } from "./wireguard";

const CONF = "[Interface]\n# Name = phone\nPrivateKey = <private key>\nAddress = 10.77.0.2/32\nMTU = 1280\n\n[Peer]\nPublicKey = AAAA=\nAllowedIPs = 10.42.0.0/16\n";

test("key pairs are clamped, differ, and are keys", async () => {
  const [one, other] = await Promise.all([generateKeyPair(), generateKeyPair()]);
  expect(one.publicKey).not.toBe(other.publicKey);
  expect([one.privateKey, one.publicKey].every(isKey)).toBe(true);
  const bytes = [...atob(one.privateKey)].map((byte) => byte.charCodeAt(0));
  expect([bytes.length, (bytes[0] ?? 1) & 7, (bytes[31] ?? 0) & 192]).toEqual([32, 0, 64]);
});

test("the public key is that of RFC 7748", async () => {
  const { x25519 } = await import("@noble/curves/ed25519");
  const alice = Uint8Array.from(atob("dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo="), (byte) => byte.charCodeAt(0));
  expect(btoa(String.fromCharCode(...x25519.getPublicKey(alice)))).toBe("hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=");
});

test("the private key takes its place and nothing else changes", () => {
  expect(fillConf(CONF, "SECRET=")).toBe(CONF.replace("<private key>", "SECRET="));
});

test("a .conf that runs commands or has no single place for the key is refused", () => {
  const wrong = [
    CONF.replace("MTU = 1280", "PostUp = reboot"),
    CONF.replace("MTU = 1280", "Table=off"),
    CONF.replace("MTU = 1280", "[Other]"),
    CONF.replace("<private key>", "QUJD"),
    CONF.replace("PrivateKey = <private key>\n", ""),
    CONF.replace("MTU = 1280", "PrivateKey = <private key>"),
  ];
  for (const text of wrong) expect(() => fillConf(text, "SECRET="), text).toThrow();
});

test("long files get a code with less error correction, and too long ones none", () => {
  expect([500, 501, 1000, 1001].map((length) => qrLevel("a".repeat(length)))).toEqual(["M", "L", "L", null]);
});

test("keys and file names that WireGuard does not take are refused", () => {
  for (const wrong of ["", "AAAA", "A".repeat(44), "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmp="]) expect(isKey(wrong), wrong).toBe(false);
  expect(fileName("living-room-tv1.conf")).toBe("living-room-tv1.conf");
  for (const wrong of ["../a.conf", "a", "-a.conf", "a b.conf", "abcdefghijklmnop.conf"]) expect(() => fileName(wrong), wrong).toThrow();
});
