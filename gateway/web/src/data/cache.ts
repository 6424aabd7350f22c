// The gateway's data by URL. Components that show data read them from here; the live stream says what has changed
// (live.ts), and what nobody shows is not asked for. Old data stay while new ones come, and when those do not come.
import { effectScope, getCurrentScope, onScopeDispose, shallowReactive, shallowRef, watch, type ShallowRef } from "vue";
import { read } from "../api/call";
import { Failure } from "../api/failure";
import { coalesce } from "./coalesce";

/** Milliseconds in which changes gather before data are read again. */
const GATHER = 250;
/** Milliseconds that data without readers are kept, for the way back to them. */
const KEEP = 5 * 60_000;

export interface Entry<T> {
  data: T | undefined;
  failure: Failure | null;
  isLoading: boolean;
  /** When they were read last, in milliseconds. */
  at: number;
}

/** Data of one URL. */
export class Slot<T> {
  readonly entry: Entry<T> = shallowReactive<Entry<T>>({ data: undefined, failure: null, isLoading: false, at: 0 });
  readonly refresh: () => void;
  private etag: string | null = null;
  private readers = 0;
  private isStale = true;
  private drop: ReturnType<typeof setTimeout> | undefined;

  constructor(
    readonly key: string,
    /** Instead of one request to the URL. */
    private readonly load: (() => Promise<T>) | undefined,
    private readonly forget: () => void,
  ) {
    this.refresh = coalesce(() => this.run(), GATHER);
  }

  acquire() {
    this.readers += 1;
    clearTimeout(this.drop);
    if (this.isStale && !this.entry.isLoading) void this.run();
  }

  release() {
    this.readers -= 1;
    if (this.readers === 0) this.drop = setTimeout(this.forget, KEEP);
  }

  /** Says that the gateway has other data by now. */
  outdate() {
    this.isStale = true;
    if (this.readers > 0 && !isHidden()) this.refresh();
  }

  /** Reads what became outdated while the page was hidden. */
  wake() {
    if (this.isStale && this.readers > 0) this.refresh();
  }

  private async run(): Promise<void> {
    const { entry } = this;
    this.isStale = false;
    entry.isLoading = true;
    try {
      if (this.load) entry.data = await this.load();
      else {
        const answer = await read<T>(this.key, entry.data === undefined ? null : this.etag);
        if (answer) {
          entry.data = answer.data;
          this.etag = answer.etag;
        }
      }
      entry.failure = null;
      entry.at = Date.now();
    } catch (thrown) {
      entry.failure = Failure.from(thrown);
      this.isStale = true;
    } finally {
      entry.isLoading = false;
    }
  }
}

const isHidden = () => typeof document !== "undefined" && document.visibilityState === "hidden";
const slots = new Map<string, Slot<unknown>>();

function slot<T>(key: string, load?: () => Promise<T>): Slot<T> {
  let found = slots.get(key) as Slot<T> | undefined;
  if (!found) {
    found = new Slot<T>(key, load, () => slots.delete(key));
    slots.set(key, found as Slot<unknown>);
  }
  return found;
}

/** Says that the data of the URLs that `matches` accepts have changed. */
export function outdate(matches: (key: string) => boolean): void {
  for (const one of slots.values()) if (matches(one.key)) one.outdate();
}

/** Forgets everything: another person signs in. */
export function clear(): void {
  slots.clear();
}

if (typeof document !== "undefined") {
  document.addEventListener("visibilitychange", () => {
    if (!isHidden()) for (const one of slots.values()) one.wake();
  });
}

/** Data as a component sees them; their URL may change. */
export interface Reading<T> {
  readonly data: T | undefined;
  readonly failure: Failure | null;
  readonly isLoading: boolean;
  readonly refresh: () => void;
}

const view = <T>(at: ShallowRef<Slot<T> | null>): Reading<T> => ({
  get data() {
    return at.value?.entry.data;
  },
  get failure() {
    return at.value?.entry.failure ?? null;
  },
  get isLoading() {
    return at.value?.entry.isLoading ?? false;
  },
  refresh: () => at.value?.refresh(),
});

/** Reads the data of a URL as long as the component is shown; null: there is nothing to read. */
export function useData<T>(key: () => string | null, load?: () => Promise<T>): Reading<T> {
  return view(follow(key, load));
}

function follow<T>(key: () => string | null, load?: () => Promise<T>): ShallowRef<Slot<T> | null> {
  const at = shallowRef<Slot<T> | null>(null);
  watch(
    key,
    (wanted, _, onCleanup) => {
      const next = wanted === null ? null : slot<T>(wanted, load);
      at.value = next;
      next?.acquire();
      onCleanup(() => next?.release());
    },
    { immediate: true, flush: "sync" },
  );
  return at;
}

/** A list that several components show: read as long as one of them does. */
export interface List<T> {
  readonly items: T[];
  /** Whether the first answer has come. */
  readonly loaded: boolean;
  readonly failure: Failure | null;
  refresh: () => void;
  /** To be called in the setup of each component that shows it. */
  use: () => List<T>;
}

export function list<T>(key: () => string | null, load?: () => Promise<T[]>): List<T> {
  const at = shallowRef<Slot<T[]> | null>(null);
  let users = 0;
  let stop = () => {};
  const begin = () => {
    const scope = effectScope(true);
    scope.run(() => {
      const followed = follow(key, load);
      watch(followed, (found) => (at.value = found), { immediate: true, flush: "sync" });
    });
    stop = () => scope.stop();
  };
  const self: List<T> = {
    get items() {
      return at.value?.entry.data ?? [];
    },
    get loaded() {
      return at.value?.entry.data !== undefined;
    },
    get failure() {
      return at.value?.entry.failure ?? null;
    },
    refresh: () => at.value?.refresh(),
    use: () => {
      if (users++ === 0) begin();
      if (getCurrentScope()) onScopeDispose(() => --users === 0 && stop());
      return self;
    },
  };
  return self;
}
