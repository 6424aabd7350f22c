import type { FailureBody } from "./types";

/** A request that did not succeed: what was wrong, and what to do about it. */
export class Failure extends Error {
  constructor(
    /** HTTP status, or 0 when no answer came. */
    readonly status: number,
    readonly detail: string,
    readonly hint?: string,
  ) {
    super(detail);
    this.name = "Failure";
  }

  /** The failure an answer describes; a proxy's own error page has no body of ours. */
  static fromAnswer(status: number, text: string): Failure {
    try {
      const body = JSON.parse(text) as Partial<FailureBody> | null;
      if (body?.detail) return new Failure(status, body.detail, body.hint);
    } catch {
      // Not JSON: said below in our own words.
    }
    return new Failure(status, `The gateway answered with status ${status}.`, "Its log says why.");
  }

  static unreachable(): Failure {
    return new Failure(0, "The gateway cannot be reached.", "Check that it runs and that this device is online.");
  }

  /** Whatever was thrown, as something that can be shown. */
  static from(thrown: unknown): Failure {
    if (thrown instanceof Failure) return thrown;
    return new Failure(0, thrown instanceof Error ? thrown.message : String(thrown));
  }
}

/** fetch, but a missing answer is a Failure too. */
export async function reach(path: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(path, init);
  } catch (thrown) {
    if (init.signal?.aborted) throw thrown;
    throw Failure.unreachable();
  }
}
