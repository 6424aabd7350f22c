// Items that are selected, for what is done to several at once.
import { computed, ref, type ComputedRef, type Ref } from "vue";
import type { Failure } from "../api/failure";
import { sentence } from "../text/format";

export interface Selection<T> {
  ids: Ref<Set<string>>;
  /** The selected ones that still exist. */
  chosen: ComputedRef<T[]>;
  /** Why the last change of several failed for some, by identifier. */
  reasons: Ref<Map<string, string>>;
  toggle: (id: string) => void;
  set: (items: T[]) => void;
  /** Keeps the failed ones selected, with their reasons. */
  settle: (failed: Map<string, Failure>) => void;
}

export function selection<T>(items: () => T[], id: (item: T) => string): Selection<T> {
  const ids = ref(new Set<string>());
  const reasons = ref(new Map<string, string>());
  const set = (chosen: T[]) => {
    ids.value = new Set(chosen.map(id));
    reasons.value = new Map();
  };
  return {
    ids,
    reasons,
    chosen: computed(() => items().filter((one) => ids.value.has(id(one)))),
    toggle: (chosen) => {
      const next = new Set(ids.value);
      if (!next.delete(chosen)) next.add(chosen);
      ids.value = next;
    },
    set,
    settle: (failed) => {
      ids.value = new Set(failed.keys());
      reasons.value = new Map([...failed].map(([one, failure]) => [one, sentence(failure.detail)]));
    },
  };
}
