import { ref } from "vue";

/** The present moment in milliseconds, moving on every 20 s: "3 min ago" stays true on an idle page. */
export const now = ref(Date.now());
setInterval(() => (now.value = Date.now()), 20_000);
