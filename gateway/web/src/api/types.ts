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

/** The options of a project that the console knows. */
export interface ProjectOptions {
  /** How far members may let their peers reach. */
  memberReach: "overlay" | "internet";
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
  enabled: boolean;
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
  /** Names of folders joined by slashes, empty at the top. */
  folder: string;
  name: string;
  size: number;
  sha256: string;
  contentType: string;
  owner: string | null;
  uploadedAt: string;
  /** Since when it has been in the trash. */
  deletedAt: string | null;
  /** Where this account stopped in it, in seconds. */
  resumeAt: number | null;
  state: "waiting" | "processing" | "ready" | "failed";
  /** 0 to 1 while processing. */
  progress: number | null;
  error: string | null;
  jobId: number | null;
  renditions: Rendition[];
  /** Sentences: all that was done with it, and all that was left out. */
  summary: string[];
  warnings: string[];
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

/** How recent the reports of a node are; unknown: it never reported, and counts as healthy. */
export type Liveness = "healthy" | "late" | "lost" | "unknown";

export interface Drift {
  publicKey: string;
  kind: "unknown" | "missing" | "allowedIps" | "presharedKey";
  allowedIps?: string[];
}

export interface NodeInterface {
  interfaceId: string;
  name: string;
  listenPort: number;
  endpoint: string | null;
  publicKey: string | null;
  mtu: number;
  dns: string[];
  keepalive: number;
  pools: string[];
  generation: number;
  acknowledgedGeneration: number;
  error: string | null;
  drift: Drift[];
}

/** Values of an interface that administrators set; absent ones stay, or get their defaults. */
export interface InterfaceValues {
  listenPort?: number;
  /** null: that of the node. */
  endpoint?: string | null;
  mtu?: number;
  dns?: string[];
  keepalive?: number;
  /** A network for its peers besides those that it has. */
  cidr?: string;
}

/** A server that hosts peers and workers, as administrators see it. */
export interface HostNode {
  nodeId: string;
  name: string;
  project: string | null;
  local: boolean;
  endpoint: string;
  weight: number;
  maxPeers: number;
  softMaxPeers: number | null;
  activePeers: number;
  capabilities: string[];
  labels: Record<string, string>;
  state: Liveness;
  desiredState: "active" | "draining" | "disabled";
  repair: boolean;
  obstacles: string[];
  interfaces: NodeInterface[];
  /** (active peers / limit) / weight; the node with the lowest score is chosen. */
  score: number;
  eligible: boolean;
  /** Why it takes no peers. */
  reason: string | null;
  device: string | null;
  seenAt: string | null;
  health: { load: number; processors: number; memoryBytes: number; memoryAvailableBytes: number; diskFreeBytes: number } | null;
}

/** A node as every member sees it, to choose one for a new peer. */
export interface EnabledNode {
  nodeId: string;
  name: string;
  state: Liveness;
  activePeers: number;
  maxPeers: number;
  score: number;
  eligible: boolean;
  reason: string | null;
  local: boolean;
}

export type PeerState = "pending" | "active" | "drifted" | "refused" | "moving" | "disabled" | "leaving" | "unconfirmed";
/** Destinations that a peer sends into its tunnel. */
export type Reach = "overlay" | "all" | "listed";

export interface Peer {
  peerId: string;
  projectId: string;
  name: string;
  fileName: string;
  publicKey: string;
  addresses: string[];
  /** null: this server. */
  nodeId: string | null;
  node: string | null;
  movingTo: string | null;
  reach: Reach;
  networks: string[];
  groups: string[];
  preshared: boolean;
  state: PeerState;
  reason: string | null;
  disabled: boolean;
  expiresAt: string | null;
  configOutdated: boolean;
  handshakeAt: string | null;
  endpoint: string | null;
  receivedBytes: number;
  sentBytes: number;
  createdBy: string;
  createdAt: string;
}

export interface NewPeer {
  peerId?: string;
  name: string;
  publicKey: string;
  preshared?: boolean;
  address?: string;
  reach: Reach;
  networks?: string[];
  groups?: string[];
  expiresAt?: string;
}

export interface ItemError {
  sqlstate: string;
  detail: string;
  hint?: string;
}

export interface PeerResult {
  item: number;
  peer?: Peer;
  error?: ItemError;
}

export interface PeerConfig {
  fileName: string;
  /** With a placeholder in the place of the private key. */
  conf: string;
}

/** One message of the live stream: this changed, ask for it again. */
export interface Change {
  project: string | null;
  subject: string;
  id: string;
  action: string;
}

/** What a visitor of a share link gets; the paths work without signing in. */
export interface SharedFile {
  name: string;
  size: number;
  contentType: string;
  state: string;
  play: { path: string; contentType: string } | null;
  stream: string | null;
  poster: string | null;
  /** WebVTT index of the pictures to seek by. */
  sprites: string | null;
  download: string | null;
  expiresAt: string | null;
}

/** What a visitor of a link to a folder gets. */
export interface SharedFolder {
  name: string;
  files: SharedEntry[];
  /** Whether these are all files. */
  isComplete: boolean;
  expiresAt: string | null;
}

export interface SharedEntry {
  fileId: string;
  /** From the shared folder on, with the folders below it. */
  name: string;
  size: number;
  contentType: string;
  state: StoredFile["state"];
  duration: number | null;
  poster: string | null;
}

/** Abilities of a client: codecs and profiles as FFmpeg names them. */
export interface Capabilities {
  containers: string[];
  video: { codec: string; profiles?: string[]; maxLevel?: number; maxBitDepth?: number }[];
  audio: { codec: string }[];
  hls: boolean;
}

/** How a file is played by a client, and why so. */
export interface Playback {
  decision: "direct" | "remux" | "audio" | "full";
  rendition: "original" | "web" | "hls" | null;
  url: string | null;
  expiresAt: string | null;
  reasons: string[];
}

export interface FailureBody {
  success: false;
  error: string;
  sqlstate: string;
  detail: string;
  hint?: string;
}
