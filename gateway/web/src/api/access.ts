import { address, call } from "./call";
import type { AccessPreview, Draft, Route, Rule } from "./types";

export const rulesAt = (projectId: string) => address("firewall", { projectId });
export const addRule = (rule: Rule) => call<Rule>(address("firewall"), "POST", rule);
export const dropRule = (ruleId: number) => call<unknown>(address(`firewall/${ruleId}`), "DELETE");

export const routesAt = (projectId: string) => address("routes", { projectId });
export const addRoute = (route: Route) => call<Route>(address("routes"), "POST", route);
export const dropRoute = (projectId: string, network: string) => call<unknown>(address("routes", { projectId, network }), "DELETE");

/** Whether a device reaches another, and what stops it first. */
export const explainAt = (connection: { from: string; to: string; protocol: string; port?: string | undefined }) => address("access/explain", connection);
/** Connections that a draft of rules would make possible, and those that it would end. */
export const preview = (draft: Draft) => call<AccessPreview>(address("access/preview"), "POST", draft);
