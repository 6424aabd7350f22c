// Addresses of the console. Everything that a page shows can be linked to: filters, tabs and open dialogs are part of the address.
import { createRouter, createWebHistory, type RouteRecordRaw } from "vue-router";
import { named } from "./data/store";
import { nav } from "./text/en/nav";

declare module "vue-router" {
  interface RouteMeta {
    title?: string;
  }
}

const ofProject: RouteRecordRaw[] = [
  { path: "", name: "overview", component: () => import("./pages/overview/Overview.vue"), meta: { title: nav.overview } },
  {
    path: "devices",
    component: () => import("./pages/devices/List.vue"),
    meta: { title: nav.devices },
    children: [
      { path: "", name: "devices", component: { render: () => null } },
      { path: "add", name: "invite", component: () => import("./pages/devices/Invite.vue") },
    ],
  },
  { path: "devices/:id/:tab?", name: "device", component: () => import("./pages/devices/Device.vue"), meta: { title: nav.devices } },
  { path: "access/:tab(matrix|rules|routes|explain)?", name: "access", component: () => import("./pages/access/Access.vue"), meta: { title: nav.access } },
  { path: "pools", name: "pools", component: () => import("./pages/pools/List.vue"), meta: { title: nav.pools } },
  { path: "pools/:id(\\d+)", name: "pool", component: () => import("./pages/pools/PoolMap.vue"), meta: { title: nav.pools } },
  { path: "peers", name: "peers", component: () => import("./pages/peers/List.vue"), meta: { title: nav.peers } },
  {
    path: "library",
    component: () => import("./pages/library/List.vue"),
    meta: { title: nav.library },
    children: [
      { path: "", name: "library", component: { render: () => null } },
      { path: ":id/watch", name: "watch", component: () => import("./pages/library/Watch.vue") },
    ],
  },
  { path: "shares", name: "shares", component: () => import("./pages/shares/List.vue"), meta: { title: nav.shares } },
  { path: "trash", name: "trash", component: () => import("./pages/trash/List.vue"), meta: { title: nav.trash } },
  { path: "jobs", name: "jobs", component: () => import("./pages/jobs/List.vue"), meta: { title: nav.jobs } },
];

const routes: RouteRecordRaw[] = [
  { path: "/", name: "start", component: { render: () => null } },
  { path: "/p/:project", children: ofProject },
  { path: "/nodes", name: "nodes", component: () => import("./pages/nodes/List.vue"), meta: { title: nav.nodes } },
  { path: "/events", name: "events", component: () => import("./pages/events/List.vue"), meta: { title: nav.events } },
  { path: "/people", name: "people", component: () => import("./pages/people/List.vue"), meta: { title: nav.people } },
  { path: "/settings/:tab(authorities|storage)?", name: "settings", component: () => import("./pages/settings/Settings.vue"), meta: { title: nav.settings } },
  { path: "/me", name: "me", component: () => import("./pages/me/Account.vue"), meta: { title: nav.me } },
  { path: "/:path(.*)*", name: "nowhere", component: () => import("./frame/Nowhere.vue") },
];

/** Pages had addresses behind a hash before, such as `#/home/files`. */
export function fromHash(hash: string): string | null {
  const [, project, page = ""] = hash.match(/^#\/([^/]*)(?:\/([a-z]+))?$/) ?? [];
  if (project === undefined) return null;
  if (page === "nodes") return "/nodes";
  const path = { overview: "", files: "/library" }[page] ?? (page && `/${page}`);
  return project ? `/p/${project}${path}` : "/";
}

export const router = createRouter({
  history: createWebHistory(),
  routes,
  scrollBehavior: (to, from, saved) => {
    // A dialog is an address of its own above the same page.
    if (to.matched[1] === from.matched[1] && to.params["id"] === from.params["id"] && to.matched.length > 2) return false;
    return saved ?? (to.path === from.path ? false : { top: 0 });
  },
});

router.beforeEach((to) => {
  const old = to.path === "/" && to.hash ? fromHash(to.hash) : null;
  return old === null ? true : { path: old, query: to.query, hash: "" };
});
router.afterEach((to) => {
  const { project } = to.params;
  if (typeof project === "string") named.value = project;
});
