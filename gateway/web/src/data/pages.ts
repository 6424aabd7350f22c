// A long list that the gateway answers in pages: as much of it as was asked for, read again from its beginning when
// something has changed.
import { Failure } from "../api/failure";

/** Items of the first page, and of each further one. */
export const PAGE = 200;
/** Items that the gateway answers at most. */
const MOST = 1000;

export interface Part<T> {
  items: T[];
  /** Whether these are all. */
  complete: boolean;
}

/**
 * The first `wanted` items of a list. The last item of a page, which the next page begins after, can be removed
 * meanwhile: the list is then read from its beginning once more.
 */
export async function read<T>(wanted: number, id: (item: T) => string, page: (max: number, after?: string) => Promise<T[]>): Promise<Part<T>> {
  for (let again = 2; ; again -= 1) {
    try {
      const items: T[] = [];
      while (items.length < wanted) {
        const max = Math.min(MOST, wanted - items.length);
        const last = items[items.length - 1];
        const next = await page(max, last && id(last));
        items.push(...next);
        if (next.length < max) return { items, complete: true };
      }
      return { items, complete: false };
    } catch (thrown) {
      if (again === 0 || Failure.from(thrown).status !== 404) throw thrown;
    }
  }
}
