// Keys of the player wherever the focus is on its page, not only within its controls.
import { onBeforeUnmount, onMounted, type Ref } from "vue";

/** Whether the element at the focus has a meaning of its own for the key. */
export function isTaken(element: Element, key: string): boolean {
  if (element.closest("input, select, textarea, [contenteditable], [role=menu]")) return true;
  return (key === " " || key === "Enter") && element.closest("button, a, summary") !== null;
}

/** Passes keys on to the player that were pressed outside of it. */
export function useKeys(player: Ref<HTMLElement | null>) {
  const pass = (event: KeyboardEvent) => {
    const target = event.target as Element;
    const { key, shiftKey, ctrlKey, metaKey, altKey } = event;
    if (!player.value || player.value.contains(target) || isTaken(target, key) || ctrlKey || metaKey || altKey) return;
    if ([" ", "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"].includes(key)) event.preventDefault();
    player.value.dispatchEvent(new KeyboardEvent(event.type, { key, shiftKey }));
  };
  onMounted(() => ["keydown", "keyup"].forEach((type) => window.addEventListener(type, pass as EventListener)));
  onBeforeUnmount(() => ["keydown", "keyup"].forEach((type) => window.removeEventListener(type, pass as EventListener)));
}
