import { ref } from "vue";

/** What screen readers are told next; App.vue holds the live region. Milestones only, no running percentages. */
export const announcement = ref("");

export function announce(text: string): void {
  announcement.value = text;
}
