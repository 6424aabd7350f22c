// How an event is told, from the free-form parts of the record.
import type { Event } from "../../api/types";
import { events as words } from "../../text/en/events";

const REFUSED = ["login-failed", "refuse", "refused", "token-reuse"];
export const isRefusal = ({ action }: Pick<Event, "action">) => REFUSED.includes(action);

export const verb = ({ action, subject }: Pick<Event, "action" | "subject">) => words.verbs[`${action} ${subject}`] ?? words.other(action, subject);

const fields = (value: unknown) => (typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {});
/** The name of the object, where the record has it. */
export function objectOf({ detail }: Pick<Event, "detail">): string {
  const { name, username, network, note } = fields(detail);
  return [name, username, network, note].find((one): one is string => typeof one === "string" && one !== "") ?? "";
}

/** Further facts, one a line. */
export function facts({ detail }: Pick<Event, "detail">): [string, string][] {
  return Object.entries(fields(detail))
    .filter(([, value]) => value !== null && value !== "" && !(Array.isArray(value) && value.length === 0))
    .map(([name, value]) => [name, typeof value === "string" ? value : JSON.stringify(value)]);
}
