import type { FailureBody } from "./types";

/** SQLSTATEs of a 503 after which the gateway has taken back what it had begun. */
const WITHDRAWN = ["53000", "55000"];

/** A request that did not succeed: what was wrong, and what to do about it. */
export class Failure extends Error {
  constructor(
    /** HTTP status, or 0 when no answer came. */
    readonly status: number,
    readonly detail: string,
    readonly hint?: string,
    /** Only the gateway's own answers have one. */
    readonly sqlstate?: string,
    /** By which the gateway's log tells more. */
    readonly request?: string,
    /** Why a session ended, in a word. */
    readonly reason?: string,
  ) {
    super(detail);
    this.name = "Failure";
  }

  /** Whether nothing was changed: the gateway itself refused it. Otherwise it may have been carried out. */
  get isRefusal(): boolean {
    return this.sqlstate !== undefined && (this.status < 500 || WITHDRAWN.includes(this.sqlstate));
  }

  /** The failure an answer describes; a proxy's own error page has no body of ours. */
  static fromAnswer(status: number, text: string, request?: string): Failure {
    try {
      const body = JSON.parse(text) as Partial<FailureBody> | null;
      if (body?.detail) return new Failure(status, body.detail, body.hint ?? undefined, body.sqlstate, request, body.reason);
    } catch {
      // Not JSON: said below in our own words.
    }
    return new Failure(status, `The answer has status ${status} and is not the gateway's.`, "The log of the proxy in front of it says why.");
  }

  static async of(answer: Response): Promise<Failure> {
    return Failure.fromAnswer(answer.status, await answer.text(), answer.headers.get("X-Request-Id") ?? undefined);
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
