// The console in a real browser, against a running system: tests/stories/console.rs starts both.
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: { include: ["e2e/*.e2e.ts"], testTimeout: 30_000, hookTimeout: 30_000, fileParallelism: false, sequence: { concurrent: false } },
});
