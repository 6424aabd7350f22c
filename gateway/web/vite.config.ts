// @ts-expect-error The console does without the types of Node, which only this file would use.
import { createHash } from "node:crypto";
import vue from "@vitejs/plugin-vue";
import { defineConfig, type Plugin } from "vite";
import * as chrome from "./src/player/chrome";

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

export default defineConfig({
  plugins: [vue({ template: { compilerOptions: { isCustomElement: (tag) => tag.startsWith("media-") } } }), styleHashes()],
  build: {
    // The gateway's content security policy forbids data: URLs, so nothing is inlined.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: { proxy: { "/api": "http://127.0.0.1:8080" } },
});
