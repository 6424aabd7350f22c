// The story has registered the nodes alpha and beta, which acknowledge what they are told, and full, which has no room.
import { afterAll, beforeAll, expect, test } from "vitest";
import { folder, open, picture, signIn, type Session } from "./browser";

let session: Session;

beforeAll(async () => {
  session = await signIn();
  await open(session.page, "Peers");
});

afterAll(() => session?.browser.close());

test("the selector offers Auto, this server and each node, with help that follows the choice", async () => {
  const { page } = session;
  await page.getByRole("button", { name: "New peer" }).click();
  const where = page.getByLabel("Where");
  await page.getByText("the lowest score").waitFor();
  const labels = await where.locator("option").allTextContents();
  expect(labels.slice(0, 2)).toEqual(["Auto (load balanced)", "Local (this server)"]);
  expect(labels.slice(2).map((label) => label.split(" ")[0]).sort()).toEqual(["alpha", "beta", "full"]);
  expect(await where.locator("option:disabled").allTextContents()).toEqual([expect.stringMatching(/^full \(/)]);
  // With Auto the node is decided later, so no address can be named.
  expect(await page.getByLabel("Address").count()).toBe(0);
  await picture(page, "new-peer-auto");
  await where.selectOption({ label: labels.find((label) => label.startsWith("beta")) ?? "" });
  await page.getByText("On beta, which has").waitFor();
  expect(await page.getByLabel("Address").isVisible()).toBe(true);
  await picture(page, "new-peer-beta");
});

test("a peer on a node gets its .conf once, with a QR code, and the node's name as badge", async () => {
  const { page } = session;
  await page.getByLabel("Name", { exact: true }).fill("phone");
  await page.getByRole("button", { name: "Create peer" }).click();
  await page.getByRole("img", { name: "QR code of phone.conf" }).waitFor();
  await picture(page, "peer-file");
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "Download phone.conf" }).click(),
  ]);
  await download.saveAs(`${folder()}/phone.conf`);
  await page.getByRole("button", { name: "I have saved it" }).click();
  const row = page.getByRole("listitem").filter({ hasText: "phone" });
  await row.getByTitle("On node beta").waitFor();
  await row.getByText("active", { exact: true }).waitFor();
  await picture(page, "peers");
});

test("when the nodes cannot be read, Auto and this server stay possible, and there is a way back", async () => {
  const { page } = session;
  const failure = { success: false, error: "unavailable", sqlstate: "08006", detail: "the database cannot be reached" };
  await page.route("**/api/nodes/enabled*", (route) => route.fulfill({ status: 503, json: failure }));
  await page.getByRole("button", { name: "New peer" }).click();
  await page.getByRole("alert").filter({ hasText: "cannot be read" }).waitFor();
  expect(await page.getByLabel("Where").locator("option").allTextContents()).toHaveLength(2);
  await picture(page, "nodes-unreadable");
  await page.getByRole("button", { name: "Use this server" }).click();
  expect(await page.getByLabel("Where").inputValue()).toBe("local");
  await page.unroute("**/api/nodes/enabled*");
  await page.getByRole("button", { name: "Try again" }).click();
  await page.getByRole("alert").filter({ hasText: "cannot be read" }).waitFor({ state: "detached" });
  expect(await page.getByLabel("Where").locator("option").count()).toBe(5);
  await page.getByRole("button", { name: "Cancel" }).click();
});

test("a peer is disabled, moved and removed", async () => {
  const { page } = session;
  const row = page.getByRole("listitem").filter({ hasText: "phone" });
  await row.getByRole("button", { name: "Disable phone" }).click();
  await row.getByText("disabled", { exact: true }).waitFor();
  await row.getByRole("button", { name: "Enable phone" }).click();
  await row.getByText("active", { exact: true }).waitFor();
  await row.getByRole("button", { name: "Move phone", exact: true }).click();
  const where = page.getByLabel("Where");
  const labels = await where.locator("option").allTextContents();
  expect(labels.some((label) => label.startsWith("beta"))).toBe(false);
  await where.selectOption({ label: labels.find((label) => label.startsWith("alpha")) ?? "" });
  await page.getByRole("button", { name: "Move", exact: true }).click();
  await row.getByTitle("On node beta").filter({ hasText: "→ alpha" }).waitFor();
  await picture(page, "peer-moving");
  await row.getByRole("button", { name: "Remove phone" }).click();
  await page.getByRole("button", { name: "Remove", exact: true }).click();
  await row.waitFor({ state: "detached" });
});

test("the list of nodes says which one is next, and why another is not chosen", async () => {
  const { page } = session;
  await open(page, "Nodes");
  await page.getByText("next for Auto").waitFor();
  expect(await page.getByText("next for Auto").count()).toBe(1);
  const full = page.getByRole("listitem").filter({ hasText: "full" }).first();
  expect(await full.getByText("full", { exact: false }).count()).toBeGreaterThan(1);
  await picture(page, "nodes");
});

test("the pages fit a phone, and neither scripts nor the security policy complained", async () => {
  const { page, complaints } = session;
  await page.setViewportSize({ width: 360, height: 740 });
  for (const name of ["Nodes", "Peers"]) {
    await open(page, name);
    await page.getByRole("heading", { name, level: 1 }).waitFor();
    expect(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), name).toBe(true);
    await picture(page, `phone-${name.toLowerCase()}`);
  }
  await page.getByRole("button", { name: "New peer" }).click();
  expect(await page.getByRole("dialog").evaluate((dialog) => dialog.scrollWidth <= dialog.clientWidth)).toBe(true);
  await picture(page, "phone-new-peer");
  expect(complaints).toEqual([]);
});
