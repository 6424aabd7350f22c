// The gateway's JSON by the console's names. The shapes are generated (schema.d.ts); only words that the document gives
// as text are listed here. Times are RFC 3339 text.
import type { components } from "./schema";

type Schemas = components["schemas"];

/** The gateway writes fields without a value as null, and leaves none out. */
type Whole<T> = T extends (infer One)[] ? Whole<One>[] : T extends object ? { [Key in keyof T]-?: Whole<Exclude<T[Key], undefined>> } : T;
/** An answer, with the words of some of its fields. */
type Answer<Name extends keyof Schemas, Words extends { [Key in keyof Words]: Key extends keyof Schemas[Name] ? unknown : never } = object> =
  Omit<Whole<Schemas[Name]>, keyof Words> & Words;

export type TokenPair = Answer<"TokenPair">;
export type Identity = Answer<"Identity", { role: "admin" | "member" }>;

export type ProjectRole = "viewer" | "member" | "admin" | "owner";
export type Account = Answer<"Account", { role: "admin" | "member" }>;
export type Member = Answer<"Member", { role: ProjectRole }>;
export type Invitation = Answer<"Invitation", { role: ProjectRole; state: "open" | "accepted" | "expired" | "revoked" }>;
export type NewInvitation = Answer<"NewInvitation">;
export type NewTotp = Answer<"NewTotp">;
export type RecoveryCodes = Answer<"RecoveryCodes">;
export type TotpState = Answer<"TotpState">;
export type Session = Answer<"Session">;

export type Project = Answer<"Project">;
export type ProjectOptions = Schemas["Options"] & { memberReach?: "overlay" | "internet" | null; inbound?: "open" | "closed" | null };
export type PoolUsage = Answer<"PoolUsage">;

export type PoolMap = Answer<"PoolMap">;

export type DeviceRole = "host" | "lighthouse" | "relay";
export type Device = Answer<"Device", { role: DeviceRole }>;
export type Certificate = Answer<"Certificate">;
export type Revocation = Answer<"Revocation">;
export type Enrolment = Answer<"Enrolment", { role: DeviceRole; state: "open" | "used" | "expired" | "revoked" }>;
export type EnrolmentRequest = Schemas["EnrolmentRequest"];
export type NewEnrolment = Answer<"NewEnrolment">;
export type Registration = Answer<"Registration">;

export type Rule = Schemas["Rule"] & { direction: "inbound" | "outbound"; protocol: "any" | "tcp" | "udp" | "icmp" };
export type Explanation = Answer<"Explanation">;
export type Draft = Schemas["Draft"];
export type AccessReach = Answer<"AccessReach">;
export type AccessPreview = Answer<"Preview">;
export type Route = Schemas["Route"];

export type FileState = "waiting" | "processing" | "ready" | "failed";
export type Rendition = Answer<"Rendition">;
export type StoredFile = Answer<"File", { state: FileState; kind: "film" | "sound" | "picture" | "other" }>;
export type Link = Answer<"Link">;
export type Playback = Answer<"Playback">;
/** Abilities of a client: codecs and profiles as FFmpeg names them. */
export interface Capabilities {
  containers: string[];
  video: { codec: string; profiles?: string[]; maxLevel?: number; maxBitDepth?: number }[];
  audio: { codec: string }[];
  hls: boolean;
}

export type Share = Answer<"Share", { state: "open" | "revoked" | "expired" | "deleted" | "withdrawn" }>;
export type NewShare = Pick<Schemas["NewShare"], "fileId" | "projectId" | "folder" | "expiresAt" | "password" | "note"> & { allowsDownload: boolean };
export type MadeShare = Answer<"MadeShare">;
export type SharedFile = Answer<"SharedFile", { state: FileState }>;
export type SharedEntry = Answer<"SharedEntry", { state: FileState }>;
export type SharedFolder = Answer<"SharedFolder", { files: SharedEntry[] }>;

export type JobState = "blocked" | "available" | "running" | "succeeded" | "dead" | "cancelled";
export type Job = Answer<"Job", { state: JobState; payload: unknown; detail: unknown; result: unknown; errors: unknown }>;
export type JobChange = Answer<"JobChange", { state: "cancelled" | "cancelling" | "available" }>;

/** How recent the reports of a node are; unknown: it never reported, and counts as healthy. */
export type Liveness = Schemas["Liveness"];
export type Drift = Schemas["Drift"];
export type NodeInterface = Answer<"NodeInterface", { drift: Drift[] }>;
export type InterfaceValues = Schemas["NodeInterfaceRequest"];
/** A server that hosts peers and workers, as operators see it. */
export type HostNode = Answer<"Node", { interfaces: NodeInterface[]; labels: Record<string, string> }>;
/** A node as every member sees it, to choose one for a new peer. */
export type EnabledNode = Answer<"EnabledNode">;

export type PeerState = Schemas["PeerState"];
/** Destinations that a peer sends into its tunnel. */
export type Reach = Schemas["Reach"];
export type Peer = Answer<"Peer">;
export type NewPeer = Schemas["NewPeer"];
export type ItemError = Schemas["ItemError"];
export type PeerResult = Schemas["PeerResult"];
export type PeerConfig = Answer<"PeerConfig">;

export type System = Answer<"System">;
export type Authority = Answer<"Authority">;
export type Quota = Answer<"Quota">;
export type Rotation = Answer<"Rotation">;
export type Event = Answer<"Event", { detail: unknown }>;
/** One message of the live stream: this changed, ask for it again. */
export type Change = Answer<"Change">;

export type FailureBody = Schemas["Failure"] & { reason?: string };
