// The types that the console was compiled with are those of the gateway that runs.
import { expect, test } from "vitest";
import { env } from "./browser";
import { generate } from "./schema";

/** Of Node, whose types are not installed. */
type Files = { readFile: (path: string, encoding: "utf8") => Promise<string>; writeFile: (path: string, text: string) => Promise<void> };

test("src/api/schema.d.ts is generated from the gateway's own document", async () => {
  const { readFile, writeFile } = (await import(String("node:fs/promises"))) as Files;
  const path = new URL("../src/api/schema.d.ts", import.meta.url).pathname;
  const generated = await generate(await (await fetch(`${env("NEBULA_URL")}/openapi.json`)).json());
  if (import.meta.env["NEBULA_WRITE_SURFACE"]) await writeFile(path, generated);
  expect(await readFile(path, "utf8")).toBe(generated);
});
