// Places of the console, by group, and which of them an account sees: what its role can never do is left out.
import { computed } from "vue";
import type { RouteLocationRaw } from "vue-router";
import { isOperator, me, project, role } from "../data/store";
import type { IconName } from "../parts/icons";
import { nav } from "../text/en/nav";

export interface Place {
  name: "overview" | "devices" | "access" | "pools" | "peers" | "library" | "shares" | "trash" | "nodes" | "jobs" | "events" | "people" | "settings";
  icon: IconName;
  /** Letter that leads there after `g`. */
  key: string;
  operator?: true;
  admin?: true;
}

export interface Group {
  title: string;
  places: Place[];
}

const GROUPS: Group[] = [
  {
    title: nav.groups.network,
    places: [
      { name: "overview", icon: "overview", key: "o" },
      { name: "devices", icon: "device", key: "d" },
      { name: "access", icon: "shield", key: "a" },
      { name: "pools", icon: "pool", key: "i" },
      { name: "peers", icon: "phone", key: "p" },
    ],
  },
  {
    title: nav.groups.media,
    places: [
      { name: "library", icon: "library", key: "l" },
      { name: "shares", icon: "share", key: "s" },
      { name: "trash", icon: "trash", key: "t" },
    ],
  },
  {
    title: nav.groups.system,
    places: [
      { name: "nodes", icon: "server", key: "n", operator: true },
      { name: "jobs", icon: "job", key: "j" },
      { name: "events", icon: "events", key: "e" },
      { name: "people", icon: "people", key: "u", admin: true },
      { name: "settings", icon: "settings", key: "c", admin: true },
    ],
  },
];
const OUTSIDE = ["nodes", "events", "people", "settings"];

const runsThings = computed(() => isOperator.value || role.value === "owner" || role.value === "admin");
const isShown = (place: Place) => (place.operator ? isOperator.value : place.admin ? runsThings.value : true);

/** People who only watch films do not read of addresses. */
export const groups = computed(() => {
  if (!me.value) return [];
  const shown = GROUPS.map(({ title, places }) => ({ title, places: places.filter(isShown) }));
  return runsThings.value ? shown : [shown[1], shown[0], shown[2]].filter((group) => group !== undefined);
});
export const places = computed(() => groups.value.flatMap((group) => group.places));

/** Places of the bar at the foot of a phone. */
export const few = computed(() => {
  const names = runsThings.value ? ["overview", "devices", "jobs"] : ["library", "shares", "devices"];
  return names.flatMap((name) => places.value.find((place) => place.name === name) ?? []);
});

/** The address of a page of the chosen project; as long as that is not known, the start leads to it. */
export function locate(name: Place["name"]): RouteLocationRaw {
  if (OUTSIDE.includes(name)) return { name };
  return project.value ? { name, params: { project: project.value.name } } : "/";
}
export const label = (name: Place["name"]) => nav[name];
