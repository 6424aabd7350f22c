import { strFromU8, strToU8, unzipSync, zipSync } from "fflate";
import { expect, test } from "vitest";
import { withKey } from "./bundle";

test("the bundle keeps its files and gets the private key as nebula reads it", async () => {
  const key = "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXphYmNkZWY=";
  const files = unzipSync(await withKey(zipSync({ "node.crt": strToU8("certificate") }), key));
  expect(Object.keys(files).sort()).toEqual(["node.crt", "node.key"]);
  expect(strFromU8(files["node.crt"] ?? new Uint8Array())).toBe("certificate");
  expect(strFromU8(files["node.key"] ?? new Uint8Array())).toBe(`-----BEGIN NEBULA X25519 PRIVATE KEY-----\n${key}\n-----END NEBULA X25519 PRIVATE KEY-----\n`);
});
