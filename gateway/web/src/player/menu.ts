// Choices of a menu of media-chrome. The menu removes empty texts from itself, by which Vue would find the place of a list; so the
// entries are made here.
import type { Directive } from "vue";

export interface Choice {
  id: string;
  label: string;
}

export interface Choices {
  list: Choice[];
  chosen: string;
}

type Item = HTMLElement & { value: string; checked: boolean };

const itemsOf = (menu: HTMLElement) => [...menu.querySelectorAll<Item>(":scope > media-chrome-menu-item")];

function make({ id, label }: Choice): HTMLElement {
  const item = document.createElement("media-chrome-menu-item");
  item.setAttribute("type", "radio");
  item.setAttribute("value", id);
  item.textContent = label;
  return item;
}

export const vChoices: Directive<HTMLElement, Choices> = (menu, { value: { list, chosen } }) => {
  const known = itemsOf(menu);
  // Entries that are the same stay: one of them may have the focus.
  if (known.length !== list.length || list.some(({ id, label }, n) => known[n]?.value !== id || known[n].textContent !== label)) {
    known.forEach((item) => item.remove());
    menu.append(...list.map(make));
  }
  for (const item of itemsOf(menu)) item.checked = item.value === chosen;
};
