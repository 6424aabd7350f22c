import type { JobState } from "../../api/types";

export const jobs = {
  title: "Jobs",
  find: "Find a job",
  count: (n: number) => (n === 1 ? "1 job" : `${n} jobs`),
  states: { blocked: "waiting for others", available: "waiting", running: "running", succeeded: "done", dead: "failed", cancelled: "cancelled" } as Record<JobState, string>,
  all: "All",
  state: "State",
  empty: "Nothing to do",
  emptyHelp: "Work appears when a film comes in: a worker turns it into one that every browser plays.",
  failedBy: "Failed, by reason",
  times: (n: number) => `${n} ×`,
  retryAll: (n: number) => (n === 1 ? "Retry" : `Retry all ${n}`),
  retried: (done: number, of: number) => (done === of ? `${done} run again.` : `${done} of ${of} run again; the others say why below.`),
};
