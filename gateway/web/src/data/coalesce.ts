/**
 * Many calls, few runs: the first call starts a wait, later ones join it, and calls during a run lead to
 * exactly one more. Unlike a debounce it never starves under a steady flow of changes.
 */
export function coalesce(run: () => Promise<void>, wait: number): () => void {
  let waiting = false;
  let running = false;
  let again = false;

  const call = () => {
    if (running) again = true;
    else if (!waiting) {
      waiting = true;
      setTimeout(() => void start(), wait);
    }
  };
  const start = async () => {
    waiting = false;
    running = true;
    try {
      await run();
    } finally {
      running = false;
      if (again) {
        again = false;
        call();
      }
    }
  };
  return call;
}
