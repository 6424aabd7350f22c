import { address, call } from "./call";
import type { Event } from "./types";

export const systemAt = () => address("system");
export const authoritiesAt = () => address("authorities");
/** The newest events, or those before one; of a project, or of all that the account sees. */
export const eventsAt = (query: { projectId?: string | undefined; before?: number | undefined; max?: number }) => address("events", query);
export const events = (query: Parameters<typeof eventsAt>[0]) => call<Event[]>(eventsAt(query));
