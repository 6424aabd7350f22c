import { computed, ref, type ComputedRef, type Ref } from "vue";

/** Rows shown at once: a browser draws a few hundred without a thought, ten thousand not. */
const STEP = 200;

export interface Paged<T> {
  query: Ref<string>;
  rows: ComputedRef<T[]>;
  /** Those that match, shown or not. */
  matching: ComputedRef<T[]>;
  /** Rows that match but are not shown yet. */
  hidden: ComputedRef<number>;
  more: () => void;
}

/** The part of a list that is shown: those that contain every word of the query, and not too many. */
export function paged<T>(items: () => T[], words: (item: T) => unknown[], limit?: number): Paged<T> {
  const query = ref("");
  const shown = ref(limit ?? STEP);
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
    more: () => (shown.value += STEP),
  };
}
