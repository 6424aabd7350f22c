// The account, the chosen project, and the lists that several pages show.
import { computed, ref, shallowRef, watch } from "vue";
import { accountsAt, meAt } from "../api/account";
import { devicesAt, enrolmentsAt } from "../api/device";
import { rulesAt, routesAt } from "../api/access";
import { filesAt, sharesAt, trashAt } from "../api/file";
import { jobsAt } from "../api/job";
import { enabledNodesAt, nodesAt } from "../api/node";
import { peers as peersOf, peersAt } from "../api/peer";
import { membersAt, poolsAt, projectsAt } from "../api/project";
import { follow } from "../api/stream";
import type {
  Account, Device, EnabledNode, Enrolment, HostNode, Identity, Job, Member, Peer, PoolUsage, Project, ProjectRole, Route, Rule, Share, StoredFile,
} from "../api/types";
import { clear, list, outdate, useData, type List } from "./cache";
import { changed } from "./live";
import { PAGE, read } from "./pages";

const LAST = "nebula.project";

/** Name of the project in the address; empty: it has none. */
export const named = ref("");
/** The account that is signed in. */
export const me = shallowRef<Identity | null>(null);

export const projects = list<Project>(projectsAt);
/** The project in the address, else the one last looked at, else the first. */
export const project = computed<Project | undefined>(() => {
  const find = (name: string | null) => projects.items.find((one) => one.name === name);
  return named.value ? find(named.value) : (find(localStorage.getItem(LAST)) ?? projects.items[0]);
});
const projectId = computed(() => project.value?.projectId ?? null);
const ofProject = <T>(at: (projectId: string) => string) => list<T>(() => projectId.value && at(projectId.value));

/** Operators may do everything, in every project. */
export const isOperator = computed(() => me.value?.role === "admin");
export const members = ofProject<Member>(membersAt);
/** The role of this account in the chosen project. */
export const role = computed<ProjectRole>(() => {
  if (isOperator.value) return "owner";
  return members.items.find((one) => one.accountId === me.value?.accountId)?.role ?? "viewer";
});
const RANKS: ProjectRole[] = ["viewer", "member", "admin", "owner"];
/** Whether the account may do in the project what this role may. */
export const may = (least: ProjectRole) => RANKS.indexOf(role.value) >= RANKS.indexOf(least);

export const devices = ofProject<Device>(devicesAt);
export const enrolments = list<Enrolment>(() => (projectId.value && may("admin") ? enrolmentsAt(projectId.value) : null));
export const rules = ofProject<Rule>(rulesAt);
export const routes = ofProject<Route>(routesAt);
export const pools = ofProject<PoolUsage>(poolsAt);
export const files = ofProject<StoredFile>(filesAt);
/** Files that were deleted. */
export const trash = ofProject<StoredFile>(trashAt);
export const shares = ofProject<Share>(sharesAt);
export const jobs = ofProject<Job>(jobsAt);
/** The nodes that a new peer can be put on; every member sees them. */
export const enabledNodes = ofProject<EnabledNode>(enabledNodesAt);
/** All nodes; operators see them. */
export const nodes = list<HostNode>(() => (isOperator.value ? nodesAt() : null));
export const accounts = list<Account>(() => (isOperator.value ? accountsAt() : null));

/** A list of which only a part is here. */
export interface PagedList<T> extends List<T> {
  readonly complete: boolean;
  /** Reads one more page. */
  more: () => void;
  /** Reads the rest, which a search needs. */
  all: () => void;
}

/** A list of the chosen project that comes in pages, of which as many are read as are wanted. */
function inPages<T>(at: (projectId: string) => string, id: (item: T) => string, page: (projectId: string, max: number, after?: string) => Promise<T[]>): PagedList<T> {
  let wanted = PAGE;
  const complete = ref(true);
  const load = async () => {
    const of = projectId.value;
    if (of === null) return [];
    const part = await read(wanted, id, page.bind(null, of));
    complete.value = part.complete;
    return part.items;
  };
  const want = (count: number) => {
    if (complete.value) return;
    wanted = count;
    self.refresh();
  };
  watch(projectId, () => (wanted = PAGE), { flush: "sync" });
  const self = Object.defineProperty(list<T>(() => projectId.value && at(projectId.value), load), "complete", { get: () => complete.value }) as PagedList<T>;
  self.more = () => want(wanted + PAGE);
  self.all = () => want(Infinity);
  return self;
}
export const peers = inPages<Peer>(peersAt, (one) => one.peerId, peersOf);

/** Follows everything that is shown, from sign-in until the component that calls it is gone. */
export function useGateway(): void {
  const identity = useData<Identity>(meAt);
  watch(() => identity.data, (found) => (me.value = found ?? null), { immediate: true, flush: "sync" });
  projects.use();
  members.use();
  watch(
    () => project.value?.name,
    (name) => name && localStorage.setItem(LAST, name),
    { immediate: true },
  );
}

/** Follows the changes until the answered function is called. */
export function openStream(): () => void {
  return follow(changed, () => outdate(() => true));
}

/** Forgets what belongs to the account. */
export function reset(): void {
  me.value = null;
  clear();
}
