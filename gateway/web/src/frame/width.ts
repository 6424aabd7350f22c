import { ref } from "vue";

/** Whether the page is as narrow as a phone; 720 px is also where the style sheets change. */
export const isNarrow = ref(false);

if (typeof window !== "undefined") {
  const narrow = window.matchMedia("(max-width: 719.98px)");
  const look = () => (isNarrow.value = narrow.matches);
  narrow.addEventListener("change", look);
  look();
}
