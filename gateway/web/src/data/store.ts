// The gateway's data about the chosen project, kept up to date by the live stream.
import { computed, reactive, ref, watch } from "vue";
import * as client from "../api/client";
import { Failure } from "../api/failure";
import { PAGE, read } from "./pages";
import { follow } from "../api/stream";
import type { Change, Device, EnabledNode, HostNode, Identity, Job, Peer, PoolUsage, Project, StoredFile } from "../api/types";
import { coalesce } from "./coalesce";
import { route } from "../route";

const LAST = "nebula.project";
/** Milliseconds in which changes gather before a list is fetched again. */
const GATHER = 150;

export interface List<T> {
  items: T[];
  /** Whether the first answer has come. */
  loaded: boolean;
  failure: Failure | null;
  refresh: () => void;
  reset: () => void;
}

export const me = ref<Identity | null>(null);

/** A list of which only a part is here. */
export interface PagedList<T> extends List<T> {
  complete: boolean;
  /** Reads one more page. */
  more: () => void;
  /** Reads the rest, which a search needs. */
  all: () => void;
}

function list<T>(load: () => Promise<T[] | null>): List<T> {
  const self = reactive({ items: [], loaded: false, failure: null, refresh: () => {}, reset: () => {} }) as List<T>;
  self.refresh = coalesce(async () => {
    try {
      const items = await load();
      if (items === null) return;
      Object.assign(self, { items, loaded: true, failure: null });
    } catch (thrown) {
      self.failure = Failure.from(thrown);
    }
  }, GATHER);
  self.reset = () => Object.assign(self, { items: [], loaded: false, failure: null });
  return self;
}

/** A list of the chosen project; null when another was chosen while the answer was on its way. */
const ofProject = <T>(load: (projectId: string) => Promise<T[]>) =>
  list<T>(async () => {
    const id = project.value?.projectId;
    if (!id) return null;
    const items = await load(id);
    return id === project.value?.projectId ? items : null;
  });

/** A list of the chosen project that comes in pages. */
function inPages<T>(id: (item: T) => string, page: (projectId: string, max: number, after?: string) => Promise<T[]>): PagedList<T> {
  let wanted = PAGE;
  const self = ofProject<T>(async (projectId) => {
    const part = await read(wanted, id, page.bind(null, projectId));
    self.complete = part.complete;
    return part.items;
  }) as PagedList<T>;
  const want = (count: number) => {
    if (self.complete) return;
    wanted = count;
    self.refresh();
  };
  self.complete = true;
  self.more = () => want(wanted + PAGE);
  self.all = () => want(Infinity);
  const reset = self.reset;
  self.reset = () => {
    wanted = PAGE;
    self.complete = true;
    reset();
  };
  return self;
}

export const projects = list<Project>(client.projects);
export const devices = ofProject<Device>(client.devices);
export const pools = ofProject<PoolUsage>(client.pools);
export const files = ofProject<StoredFile>(client.files);
/** Files that were deleted. */
export const trash = ofProject<StoredFile>(client.trash);
export const jobs = ofProject<Job>(client.jobs);
export const peers = inPages<Peer>((one) => one.peerId, client.peers);
/** The nodes that a new peer can be put on; every member sees them. */
export const enabledNodes = ofProject<EnabledNode>(client.enabledNodes);
/** All nodes; administrators see them. */
export const nodes = list<HostNode>(async () => (me.value?.role === "admin" ? await client.nodes() : null));
const perProject = [devices, pools, files, trash, jobs, peers, enabledNodes];

/** The project in the address, else the one last looked at, else the first. */
export const project = computed<Project | undefined>(() => {
  const find = (name: string | null) => projects.items.find((one) => one.name === name);
  return find(route.value.project) ?? find(localStorage.getItem(LAST)) ?? projects.items[0];
});

/** Which lists show something of a subject: a job's progress is shown on its file, a device holds an address. */
const shownBy: Record<string, { refresh: () => void }[]> = {
  project: [projects, pools],
  pool: [pools],
  allocation: [pools, devices],
  certificate: [devices, pools],
  device: [devices, pools],
  file: [files, trash],
  folder: [files, trash],
  rendition: [files],
  job: [jobs, files],
  peer: [peers, enabledNodes, nodes],
  node: [nodes, enabledNodes, peers],
};
const everything = () => [projects, nodes, ...perProject].forEach((one) => one.refresh());

function changed(change: Change) {
  if (change.project !== null && change.project !== project.value?.projectId) return;
  shownBy[change.subject]?.forEach((one) => one.refresh());
}

/** Loads and follows everything, from sign-in until the answered function is called. */
export function open(): () => void {
  const unwatch = watch(
    () => project.value?.projectId,
    (id) => {
      perProject.forEach((one) => one.reset());
      if (!id) return;
      localStorage.setItem(LAST, project.value?.name ?? "");
      perProject.forEach((one) => one.refresh());
    },
  );
  const identify = coalesce(async () => {
    me.value ??= await client.me().catch(() => null);
    nodes.refresh();
  }, 0);
  const unfollow = follow(changed, () => {
    everything();
    identify();
  });
  projects.refresh();
  identify();
  return () => {
    unwatch();
    unfollow();
    me.value = null;
    [projects, nodes, ...perProject].forEach((one) => one.reset());
  };
}
