// Which data a change is about: a job's progress is shown on its file, a device holds an address.
import type { Change } from "../api/types";

/** First words of the URLs, behind /api/, by the subject of the change. */
const SHOWN: Record<string, string[]> = {
  project: ["projects", "pools", "firewall", "routes"],
  pool: ["pools"],
  allocation: ["pools", "devices"],
  certificate: ["certificates", "devices", "pools"],
  device: ["devices", "certificates", "pools", "enrolments", "routes"],
  enrolment: ["enrolments"],
  rule: ["firewall"],
  quota: ["quotas"],
  file: ["files", "trash", "quotas"],
  folder: ["files", "trash"],
  rendition: ["files"],
  share: ["shares"],
  job: ["jobs", "files"],
  peer: ["peers", "nodes"],
  node: ["nodes", "peers"],
  account: ["accounts", "projects"],
  session: ["sessions", "accounts"],
  authority: ["authorities", "rotations"],
  rotation: ["authorities", "rotations"],
};
/** Actions that say how far something is, which the record of events leaves out. */
const RUNNING = ["progress"];

/** Whether the data of a URL are about what has changed. */
export function concerns(key: string, { project, subject, action }: Pick<Change, "project" | "subject" | "action">): boolean {
  const [, , word = ""] = key.split(/[/?]/);
  // A URL without a project is about all of them.
  const ofOther = project !== null && /projectId=|projects\//.test(key) && !key.includes(project);
  if (ofOther) return false;
  if (word === "events") return !RUNNING.includes(action);
  return SHOWN[subject]?.includes(word) ?? false;
}
