// The gateway's JSON, word for word as gateway/api/src declares it. Times are RFC 3339 text.

export interface TokenPair {
  accessToken: string;
  refreshToken: string;
  /** Seconds until the access token expires. */
  expiresIn: number;
}

export interface Identity {
  accountId: string;
  username: string;
  role: "admin" | "member";
}

export interface Project {
  projectId: string;
  name: string;
  cidr: string | null;
  createdAt: string;
  devices: number;
  files: number;
}

/** Counts are decimal text: an IPv6 pool outgrows every JSON number. */
export interface PoolUsage {
  poolId: number;
  projectId: string;
  name: string;
  cidr: string;
  size: string;
  reserved: string;
  allocated: string;
  quarantined: string;
  free: string;
}

export interface Device {
  deviceId: string;
  projectId: string;
  name: string;
  role: "host" | "lighthouse" | "relay";
  owner: string | null;
  nebulaIp: string | null;
  pool: string | null;
  endpoints: string[];
  curve: string;
  registeredAt: string;
  lastSeenAt: string | null;
  revokedAt: string | null;
  fingerprint: string | null;
  certificateNotAfter: string | null;
}

export interface Rendition {
  kind: string;
  size: number;
  contentType: string;
  sha256: string;
  madeAt: string;
  detail: unknown;
}

export interface StoredFile {
  fileId: string;
  projectId: string;
  name: string;
  size: number;
  sha256: string;
  contentType: string;
  owner: string | null;
  uploadedAt: string;
  state: "waiting" | "processing" | "ready" | "failed";
  /** 0 to 1 while processing. */
  progress: number | null;
  error: string | null;
  jobId: number | null;
  renditions: Rendition[];
}

export interface Link {
  /** Path and query below the gateway's address; plays without a header. */
  path: string;
  expiresAt: string;
}

export type JobState = "blocked" | "available" | "running" | "succeeded" | "dead" | "cancelled";

export interface Job {
  jobId: number;
  kind: string;
  state: JobState;
  projectId: string | null;
  payload: unknown;
  priority: number;
  attempt: number;
  maxAttempts: number;
  worker: string | null;
  /** 0 to 1 while running. */
  progress: number | null;
  detail: unknown;
  result: unknown;
  errors: unknown;
  enqueuedAt: string;
  runAt: string | null;
  startedAt: string | null;
  finishedAt: string | null;
  /** It runs, and its worker will be told to stop. */
  cancelRequested: boolean;
}

export interface JobChange {
  jobId: number;
  state: "cancelled" | "cancelling" | "available";
}

/** One message of the live stream: this changed, ask for it again. */
export interface Change {
  project: string | null;
  subject: string;
  id: string;
  action: string;
}

export interface FailureBody {
  success: false;
  error: string;
  sqlstate: string;
  detail: string;
  hint?: string;
}
