// The story has registered the nodes alpha and beta, which acknowledge what they are told, and full, which has no room
// for more than its peer radio. Three peers, lamp-1 to lamp-3, are on alpha. The project zoo has 201 on this server,
// sensor-001 to sensor-201.
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
  const alert = page.getByRole("alert").filter({ hasText: "cannot be read" });
  // An event of a node has the list read again, too, and may be faster than the click.
  const again = page.getByRole("button", { name: "Try again" }).click({ timeout: 2000 });
  await Promise.any([again, alert.waitFor({ state: "detached" })]);
  await alert.waitFor({ state: "detached" });
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
  await row.getByRole("button", { name: "Leave phone where it is" }).click();
  await row.getByText("→ alpha").waitFor({ state: "detached" });
  await row.getByTitle("On node beta").waitFor();
  await row.getByRole("button", { name: "Remove phone" }).click();
  await page.getByRole("button", { name: "Remove", exact: true }).click();
  await row.waitFor({ state: "detached" });
});

test("a lost answer leaves neither a second peer nor a peer without its key", async () => {
  const { page } = session;
  let sent = 0;
  await page.route("**/api/peers", async (route) => {
    if (route.request().method() !== "POST") return route.fallback();
    sent += 1;
    // The gateway has done it; the proxy in front of it gives up.
    const answer = await route.fetch();
    return sent === 1 ? route.fulfill({ status: 504, contentType: "text/html", body: "<h1>Gateway Time-out</h1>" }) : route.fulfill({ response: answer });
  });
  await page.getByRole("button", { name: "New peer" }).click();
  await page.getByLabel("Name", { exact: true }).fill("tablet");
  await page.getByRole("button", { name: "Create peer" }).click();
  await page.getByText("The peer may exist all the same.").waitFor();
  await picture(page, "answer-lost");
  await page.getByRole("button", { name: "Try again" }).click();
  await page.getByRole("img", { name: "QR code of tablet.conf" }).waitFor();
  await page.getByRole("button", { name: "I have saved it" }).click();
  await page.unroute("**/api/peers");
  expect(sent).toBe(2);
  expect(await page.getByRole("listitem").filter({ hasText: "tablet" }).count()).toBe(1);
});

test("several peers are moved and removed at once, with a result for each", async () => {
  const { page } = session;
  const peers = page.getByRole("list", { name: "Peers" });
  const bar = page.getByRole("toolbar", { name: "Selected peers" });
  await page.getByRole("button", { name: "Select", exact: true }).click();
  for (const name of ["lamp-1", "lamp-2", "lamp-3"]) await peers.getByLabel(`Select ${name}`).check();
  await bar.getByRole("button", { name: "Move", exact: true }).click();
  const where = page.getByLabel("Where");
  await where.locator("option", { hasText: "beta" }).waitFor({ state: "attached" });
  const labels = await where.locator("option").allTextContents();
  await where.selectOption({ label: labels.find((label) => label.startsWith("beta")) ?? "" });
  await picture(page, "move-several");
  await page.getByRole("dialog").getByRole("button", { name: "Move", exact: true }).click();
  await bar.getByText("3 peers move.").waitFor();
  await peers.getByText("→ beta").nth(2).waitFor();
  // Of these two the gateway seems to refuse one.
  for (const name of ["lamp-1", "lamp-2"]) await peers.getByLabel(`Select ${name}`).check();
  await page.route("**/api/peers/remove", async (route) => {
    const answer = await route.fetch();
    const body = (await answer.json()) as { data: { item: number; peer?: unknown; error?: unknown }[] };
    const error = { sqlstate: "42501", detail: "peer \"lamp-2\" is not yours", hint: "Ask who created it." };
    await route.fulfill({ response: answer, json: { ...body, data: [body.data[0], { item: 1, error }] } });
  });
  await bar.getByRole("button", { name: "Remove", exact: true }).click();
  await page.getByRole("heading", { name: "Remove 2 peers?" }).waitFor();
  await page.getByRole("dialog").getByRole("button", { name: "Remove", exact: true }).click();
  await bar.getByText("1 of 2 peers are removed").waitFor();
  await page.unroute("**/api/peers/remove");
  await picture(page, "removed-one-of-two");
  await page.getByRole("button", { name: "Done" }).click();
  await peers.getByText("lamp-1", { exact: true }).waitFor({ state: "detached" });
});

test("a list of many peers comes in pages, and is searched as a whole", async () => {
  const { page } = session;
  const before = new URL(page.url()).pathname;
  const show = (path: string) => page.goto(new URL(path, page.url()).href);
  const peers = page.getByRole("list", { name: "Peers" });
  const rows = peers.locator(":scope > li");
  const more = page.getByRole("button", { name: "Show more" });
  await show("/p/zoo/peers");
  await peers.getByText("sensor-001", { exact: true }).waitFor();
  expect(await rows.count()).toBe(200);
  await more.click();
  await peers.getByText("sensor-201", { exact: true }).waitFor();
  expect([await rows.count(), await more.count()]).toEqual([201, 0]);
  await show(before);
  await peers.getByText("sensor-001", { exact: true }).waitFor({ state: "detached" });
  await show("/p/zoo/peers");
  await more.waitFor();
  await page.getByLabel("Filter peers").fill("sensor-201");
  await peers.getByText("sensor-201", { exact: true }).waitFor();
  await page.getByLabel("Filter peers").fill("");
  await show(before);
  await peers.getByText("sensor-001", { exact: true }).waitFor({ state: "detached" });
});

test("an administrator lets members give their peers the internet", async () => {
  const { page } = session;
  const dialog = page.getByRole("dialog", { name: "Rights of members" });
  for (const [now, next] of [
    ["overlay", "internet"],
    ["internet", "overlay"],
  ]) {
    await page.getByRole("button", { name: "Rights of members" }).click();
    await dialog.locator(`input[value=${now}]:checked:enabled`).waitFor();
    await dialog.locator(`input[value=${next}]`).check();
    await picture(page, `member-reach-${next}`);
    await dialog.getByRole("button", { name: "Save" }).click();
    await dialog.waitFor({ state: "detached" });
  }
});

test("an interface of a node is changed and added in the list of nodes", async () => {
  const { page } = session;
  await open(page, "Nodes");
  const alpha = page.getByRole("list", { name: "Nodes" }).locator(":scope > li").filter({ hasText: "alpha" }).first();
  await alpha.getByText("1 interface", { exact: true }).click();
  await alpha.getByRole("button", { name: "Change wg0 of alpha" }).click();
  await page.getByLabel("UDP port").fill("51999");
  await page.getByLabel("Name servers for peers").fill("10.42.0.1");
  await picture(page, "interface-form");
  await page.getByRole("button", { name: "Save" }).click();
  await alpha.getByText("UDP 51999").waitFor();
  await alpha.getByText("name servers 10.42.0.1").waitFor();
  await alpha.getByRole("button", { name: "Add interface" }).click();
  await page.getByLabel("Name", { exact: true }).fill("wg1");
  await page.getByLabel("UDP port").fill("51999");
  await page.getByRole("button", { name: "Save" }).click();
  // The port is taken: the gateway's reason is shown, and the form stays.
  await page.getByRole("dialog").getByRole("alert").waitFor();
  await page.getByLabel("UDP port").fill("51821");
  await page.getByRole("button", { name: "Save" }).click();
  await alpha.getByText("2 interfaces").waitFor();
  await alpha.getByRole("button", { name: "Remove wg1 of alpha" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Remove", exact: true }).click();
  await alpha.getByText("1 interface", { exact: true }).waitFor();
  await picture(page, "node-interfaces");
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

test("the address that a device shows lets it in, after a look at its number", async () => {
  const { page } = session;
  const url = new URL(page.url());
  const begun = await page.request.post(`${url.origin}/v1/endpoint-auth/preauth`);
  const { data } = (await begun.json()) as { data: { pollToken: string; loginURL: string } };
  const state = async () => {
    const answer = await page.request.get(`${url.origin}/v1/endpoint-auth/poll?pollToken=${data.pollToken}`);
    return ((await answer.json()) as { data: { state: string } }).data.state;
  };
  expect(await state()).toBe("WAITING");
  const request = new URL(data.loginURL).searchParams.get("approve") ?? "";
  await page.goto(`${url.origin}/?approve=${request}`);
  const dialog = page.getByRole("dialog", { name: "Let a device in?" });
  await dialog.getByText(request.slice(0, 8)).waitFor();
  await dialog.getByLabel("Name").fill("notebook");
  await picture(page, "approve");
  await dialog.getByRole("button", { name: "Let it in" }).click();
  await dialog.getByText("Waiting until it joins").waitFor();
  expect(await state()).toBe("COMPLETED");
  await dialog.getByRole("button", { name: "Done" }).click();
  await page.waitForURL((at) => at.search === "");
  // The same again is refused, and the gateway's reason is shown.
  await page.goto(`${url.origin}/?approve=${request}`);
  await dialog.getByLabel("Name").fill("notebook");
  await dialog.getByRole("button", { name: "Let it in" }).click();
  await dialog.getByRole("alert").filter({ hasText: "approved before" }).waitFor();
  await dialog.getByRole("button", { name: "Keep it out" }).click();
});

test("the pages fit a phone, and neither scripts nor the security policy complained", async () => {
  const { page, complaints } = session;
  await page.emulateMedia({ colorScheme: "dark" });
  for (const name of ["Nodes", "Peers"]) {
    await open(page, name);
    await page.getByRole("heading", { name, level: 1 }).waitFor();
    await picture(page, `dark-${name.toLowerCase()}`);
  }
  await page.setViewportSize({ width: 390, height: 844 });
  await page.getByRole("button", { name: "More", exact: true }).waitFor();
  for (const name of ["Nodes", "Peers"]) {
    await open(page, name);
    await page.getByRole("heading", { name, level: 1 }).waitFor();
    expect(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), name).toBe(true);
    await picture(page, `phone-${name.toLowerCase()}`);
  }
  await page.getByRole("button", { name: "Select", exact: true }).click();
  await page.getByRole("button", { name: /^Select all/ }).click();
  expect(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), "selection").toBe(true);
  await picture(page, "phone-selection");
  await page.getByRole("button", { name: "New peer" }).click();
  expect(await page.getByRole("dialog").evaluate((dialog) => dialog.scrollWidth <= dialog.clientWidth)).toBe(true);
  await picture(page, "phone-new-peer");
  expect(complaints).toEqual([]);
});
