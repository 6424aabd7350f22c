import { computed, ref, watch, type ComputedRef, type Ref } from "vue";
import { useRoute, useRouter } from "vue-router";
import type { PagedList } from "./store";

/** Rows shown at once: a browser draws a few hundred without a thought, ten thousand not. */
const STEP = 200;

export interface Paged<T> {
  /** Part of the address, so that a filter can be linked to and survives the way back. */
  query: Ref<string>;
  rows: ComputedRef<T[]>;
  /** Those that match, shown or not. */
  matching: ComputedRef<T[]>;
  /** Rows that match but are not shown yet. */
  hidden: ComputedRef<number>;
  /** Whether the gateway has more than was read. */
  unread: ComputedRef<boolean>;
  more: () => void;
  clear: () => void;
}

/** A text of the query of the address; the empty one is left out. */
export function inAddress(name: string): Ref<string> {
  const [route, router] = [useRoute(), useRouter()];
  return computed({
    get: () => (typeof route.query[name] === "string" ? route.query[name] : ""),
    set: (text: string) => void router.replace({ query: { ...route.query, [name]: text || undefined } }),
  });
}

export const matches = (query: string, words: unknown[]): boolean => {
  const text = words.join(" ").toLowerCase();
  return query.toLowerCase().split(/\s+/).filter(Boolean).every((word) => text.includes(word));
};

/** The part of a list that is shown: those that contain every word of the query, and not too many. A list
 * that comes in pages is read on when more is to be shown, and whole when it is searched. */
export function paged<T>(items: () => T[], words: (item: T) => unknown[], source?: PagedList<T>, clear?: () => void): Paged<T> {
  const query = inAddress("q");
  const shown = ref(STEP);
  watch(query, (words) => words.trim() && source?.all(), { immediate: true });
  const matching = computed(() => (query.value.trim() ? items().filter((item) => matches(query.value, words(item))) : items()));
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
    clear: () => {
      query.value = "";
      clear?.();
    },
  };
}
