// Reads the free-form parts of a job. They may hold anything, so every field is checked.
import type { Job, JobState } from "../../api/types";
import { jobs as words } from "../../text/en/jobs";
import { duration } from "../../text/format";

type Fields = Record<string, unknown>;

const fields = (value: unknown): Fields => (typeof value === "object" && value !== null ? (value as Fields) : {});
const text = (value: unknown) => (typeof value === "string" && value !== "" ? value : null);

export interface Attempt {
  attempt: number | null;
  /** RFC 3339 text, if it is known. */
  at: string | null;
  error: string;
}

/** Failed attempts, newest first. */
export function attempts(job: Job): Attempt[] {
  const entries = Array.isArray(job.errors) ? (job.errors as unknown[]) : [];
  return entries
    .map((entry) => {
      const { attempt, at, error } = fields(entry);
      return {
        attempt: typeof attempt === "number" ? attempt : null,
        at: text(at),
        error: text(error) ?? text(entry) ?? JSON.stringify(entry),
      };
    })
    .reverse();
}

/** The name of what the job works on. */
export const subject = (job: Job): string | null => text(fields(job.payload).name);

/** What the worker is doing right now, and how long that will take if it knows: "video, 2 min left". */
export function doing(job: Job): string {
  const { stage, etaSeconds } = fields(job.detail);
  const left = typeof etaSeconds === "number" && etaSeconds > 0 ? `${duration(etaSeconds * 1000)} left` : null;
  return [text(stage), left].filter(Boolean).join(", ");
}

export const tone: Record<JobState, "good" | "busy" | "warn" | "bad" | ""> = {
  blocked: "",
  available: "",
  running: "busy",
  succeeded: "good",
  dead: "bad",
  cancelled: "warn",
};

/** What can be done about a job: only waiting and running ones can be stopped, only dead and cancelled ones revived. */
export function action(job: Job): "cancel" | "retry" | null {
  if (job.state === "dead" || job.state === "cancelled") return "retry";
  return job.state === "succeeded" || job.cancelRequested ? null : "cancel";
}

/** The state in a word for people. */
export function word(job: Job): string {
  if (job.cancelRequested && job.state === "running") return "stopping";
  return words.states[job.state];
}
