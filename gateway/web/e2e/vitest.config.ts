// The console in a real browser, against a running system, which a story starts.
import { defineConfig } from "vitest/config";

export default defineConfig({
  // One page for all tests: after a failure the others would only wait for a page that is in another state.
  test: { include: ["e2e/*.e2e.ts"], testTimeout: 60_000, hookTimeout: 60_000, fileParallelism: false, bail: 1 },
});
