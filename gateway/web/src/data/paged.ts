import { computed, ref, watch, type ComputedRef, type Ref } from "vue";
import type { PagedList } from "./store";

/** Rows shown at once: a browser draws a few hundred without a thought, ten thousand not. */
const STEP = 200;

export interface Paged<T> {
  query: Ref<string>;
  rows: ComputedRef<T[]>;
  /** Those that match, shown or not. */
  matching: ComputedRef<T[]>;
  /** Rows that match but are not shown yet. */
  hidden: ComputedRef<number>;
  /** Whether the gateway has more than was read. */
  unread: ComputedRef<boolean>;
  more: () => void;
}

/** The part of a list that is shown: those that contain every word of the query, and not too many. A list
 * that comes in pages is read on when more is to be shown, and whole when it is searched. */
export function paged<T>(items: () => T[], words: (item: T) => unknown[], limit?: number, source?: PagedList<T>): Paged<T> {
  const query = ref("");
  const shown = ref(limit ?? STEP);
  watch(query, (words) => words.trim() && source?.all());
  const matching = computed(() => {
    const wanted = query.value.toLowerCase().split(/\s+/).filter(Boolean);
    if (wanted.length === 0) return items();
    return items().filter((item) => {
      const text = words(item).join(" ").toLowerCase();
      return wanted.every((word) => text.includes(word));
    });
  });
  return {
    query,
    matching,
    rows: computed(() => matching.value.slice(0, shown.value)),
    hidden: computed(() => Math.max(0, matching.value.length - shown.value)),
    unread: computed(() => source?.complete === false),
    more: () => {
      shown.value += STEP;
      if (shown.value > items().length) source?.more();
    },
  };
}
