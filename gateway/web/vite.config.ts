// @ts-expect-error The console does without the types of Node, which only this file would use.
import { createHash } from "node:crypto";
// @ts-expect-error The same.
import { gzipSync } from "node:zlib";
import vue from "@vitejs/plugin-vue";
import { defineConfig, type Plugin } from "vite";
import * as chrome from "./src/player/chrome";

/** Of Node, whose types are not installed. */
declare const process: { env: Record<string, string | undefined> };

/** A custom element of media-chrome: the content of its shadow root, with its style sheets, is a text. */
type Templated = { getTemplateHTML?: (attributes: object, properties?: object) => string };

/**
 * Writes the hashes of the style sheets of media-chrome, one a line, for the gateway's content policy: the elements put them into
 * their shadow roots as text, which the policy else forbids.
 */
const styleHashes = (): Plugin => ({
  name: "style-hashes",
  generateBundle() {
    const hashes = new Set<string>();
    for (const element of Object.values(chrome) as Templated[]) {
      const content = element.getTemplateHTML?.({}, {}) ?? "";
      for (const [, text = ""] of content.matchAll(/<style[^>]*>([^]*?)<\/style>/g))
        hashes.add(`sha256-${createHash("sha256").update(text).digest("base64")}`);
    }
    this.emitFile({ type: "asset", fileName: "style-hashes.txt", source: `${[...hashes].sort().join("\n")}\n` });
  },
});

/** Bytes that a first visit may fetch, compressed: everything but pages and the player. */
const FIRST_LOAD = 250_000;

/** Fails the build when the first load has become too large for a phone in a train. */
const budget = (): Plugin => ({
  name: "budget",
  generateBundle(_, bundle) {
    const needed = new Set<string>();
    const need = (name: string) => {
      const chunk = bundle[name];
      if (needed.has(name) || chunk?.type !== "chunk") return;
      needed.add(name);
      chunk.imports.forEach(need);
    };
    for (const [name, one] of Object.entries(bundle))
      if (one.type === "chunk" && (one.isEntry || /\/src\/(App\.vue|router\.ts)$/.test(one.facadeModuleId ?? ""))) need(name);
    const sizes = [...needed].map((name) => gzipSync((bundle[name] as { code: string }).code).length as number);
    const size = sizes.reduce((sum, one) => sum + one, 0);
    if (size > FIRST_LOAD) this.error(`the first load has ${size} bytes compressed, and ${FIRST_LOAD} are allowed`);
    this.info(`first load: ${Math.round(size / 1000)} kB compressed`);
  },
});

export default defineConfig({
  plugins: [vue({ template: { compilerOptions: { isCustomElement: (tag) => tag.startsWith("media-") } } }), styleHashes(), budget()],
  build: {
    // The gateway's content security policy forbids data: URLs, so nothing is inlined.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: { proxy: { "^/(api|v1|openapi.json|install.sh|download)": process.env["NEBULA_URL"] ?? "http://127.0.0.1:8080" } },
});
