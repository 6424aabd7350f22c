// Where we are: `#/<project>/<page>`. A handful of flat pages needs no router; the hash needs no rule in the gateway.
import { ref } from "vue";

export const pages = ["overview", "devices", "peers", "nodes", "files", "jobs"] as const;
export type Page = (typeof pages)[number];
export interface Route {
  /** Name of the project; empty: whichever was open last. */
  project: string;
  page: Page;
}

export function parseRoute(hash: string): Route {
  const [, project = "", page = ""] = hash.replace(/^#/, "").split("/");
  return { project: decode(project), page: pages.find((known) => known === page) ?? "overview" };
}

// A hand-typed % must not break the page.
function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export const toHash = (project: string, page: Page) => `#/${encodeURIComponent(project)}/${page}`;

export const route = ref<Route>({ project: "", page: "overview" });

if (typeof window !== "undefined") {
  const read = () => (route.value = parseRoute(window.location.hash));
  window.addEventListener("hashchange", read);
  read();
}
