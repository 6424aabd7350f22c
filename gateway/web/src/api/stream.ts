// The live stream: what changed, as long as the page is open, across lost connections.
import { ref } from "vue";
import { authorized } from "./call";
import { EventParser } from "./events";
import { Failure } from "./failure";
import type { Change } from "./types";

export type Liveness = "connecting" | "live" | "offline";
export const liveness = ref<Liveness>("connecting");

/** Milliseconds without a byte after which the connection counts as dead; the gateway sends a comment every 15 s. */
const SILENCE = 45_000;

/** Milliseconds to wait before the next attempt: doubling to half a minute, spread so that tabs do not return as one. */
export function backoff(attempt: number, random = Math.random()): number {
  return Math.min(30_000, 500 * 2 ** attempt) * (0.5 + random / 2);
}

/** Follows the stream until the answered function is called. `onGap`: changes may have been missed, ask for all. */
export function follow(onChange: (change: Change) => void, onGap: () => void): () => void {
  const life = new AbortController();
  let attempt = 0;

  const run = async () => {
    while (!life.signal.aborted) {
      try {
        await connection(life.signal, onChange, () => {
          attempt = 0;
          liveness.value = "live";
          onGap();
        });
      } catch (thrown) {
        // Signed out: the next sign-in opens a stream of its own.
        if (thrown instanceof Failure && thrown.status === 401) return;
      }
      if (life.signal.aborted) return;
      // A stream that ended in good order is back within a second; no reason to alarm anyone.
      liveness.value = attempt === 0 && navigator.onLine ? "connecting" : "offline";
      await pause(backoff(attempt++), life.signal);
    }
  };
  liveness.value = "connecting";
  void run();
  return () => life.abort();
}

async function connection(life: AbortSignal, onChange: (change: Change) => void, onOpen: () => void) {
  const attempt = new AbortController();
  const stop = () => attempt.abort();
  life.addEventListener("abort", stop);
  let watchdog = setTimeout(stop, SILENCE);
  try {
    const answer = await authorized("/api/stream", { headers: { Accept: "text/event-stream" }, signal: attempt.signal });
    if (!answer.ok || !answer.body) throw await Failure.of(answer);
    onOpen();
    const reader = answer.body.getReader();
    const decoder = new TextDecoder();
    const parser = new EventParser();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(watchdog);
      watchdog = setTimeout(stop, SILENCE);
      for (const message of parser.push(decoder.decode(value, { stream: true }))) {
        if (message.event === "change") onChange(JSON.parse(message.data) as Change);
        else if (message.event === "reset") onOpen();
      }
    }
  } finally {
    clearTimeout(watchdog);
    life.removeEventListener("abort", stop);
  }
}

/** Waits; comes back early when the device is online again or the page is looked at again. */
function pause(milliseconds: number, life: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const visible = () => document.visibilityState === "visible" && done();
    const timer = setTimeout(() => done(), milliseconds);
    const done = () => {
      clearTimeout(timer);
      window.removeEventListener("online", done);
      document.removeEventListener("visibilitychange", visible);
      life.removeEventListener("abort", done);
      resolve();
    };
    window.addEventListener("online", done);
    document.addEventListener("visibilitychange", visible);
    life.addEventListener("abort", done);
  });
}
