// Keys that work on every page. Each stands in the tooltip of what it does, and in the list behind `?`.
import { onBeforeUnmount, onMounted } from "vue";

const KEY = "nebula.letters";
/** Single letters can be turned off: who dictates would set them off. */
export const letters = {
  get on() {
    return localStorage.getItem(KEY) !== "off";
  },
  set on(on: boolean) {
    if (on) localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, "off");
  },
};

/** Whether keys go to something that is being written into, or to a dialog or player with keys of its own. */
const isTaken = (element: Element | null) => element?.closest("input, select, textarea, [contenteditable], dialog, media-controller, [role=menu]") != null;

/** Milliseconds after `g` in which the letter of a page counts. */
const PAUSE = 1500;

/** `after`: what letters after `g` do; `alone`: what single keys do. */
export function useKeys(keys: { palette: () => void; alone: Record<string, () => void>; after: (letter: string) => void }): void {
  let begun = -Infinity;
  const press = (event: KeyboardEvent) => {
    const { key } = event;
    if ((event.ctrlKey || event.metaKey) && !event.altKey && key.toLowerCase() === "k") {
      event.preventDefault();
      return keys.palette();
    }
    if (event.ctrlKey || event.metaKey || event.altKey || !letters.on || isTaken(event.target as Element)) return;
    if (document.querySelector("dialog[open]")) return;
    if (event.timeStamp - begun < PAUSE) {
      begun = -Infinity;
      return keys.after(key);
    }
    if (key === "g") begun = event.timeStamp;
    const act = keys.alone[key];
    if (!act) return;
    event.preventDefault();
    act();
  };
  onMounted(() => window.addEventListener("keydown", press));
  onBeforeUnmount(() => window.removeEventListener("keydown", press));
}
