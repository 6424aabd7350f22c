import { expect, test } from "vitest";
import { concerns } from "./concern";

const change = (subject: string, project: string | null = "home", action = "change") => ({ project, subject, action });

test("a change is about the data that show its subject, in its project alone", () => {
  expect(concerns("/api/devices?projectId=home", change("device"))).toBe(true);
  expect(concerns("/api/devices?projectId=zoo", change("device"))).toBe(false);
  expect(concerns("/api/projects/zoo/members", change("account"))).toBe(false);
  expect(concerns("/api/nodes", change("peer"))).toBe(true);
  expect(concerns("/api/files?projectId=home", change("job"))).toBe(true);
  expect(concerns("/api/files?projectId=home", change("device"))).toBe(false);
  expect(concerns("/api/accounts?max=1000", change("account", null))).toBe(true);
});

test("every change is an event, but for progress", () => {
  expect(concerns("/api/events?max=8", change("device"))).toBe(true);
  expect(concerns("/api/events?max=8", change("job", "home", "progress"))).toBe(false);
});
