// Every page of the console, in both themes, on a desk and on a phone; and what people do on them. The story has made the
// devices door (lighthouse), nas, laptop and lost, and the account ben, a member of no project. The project has the range
// 10.99.0.0/16 and the pool 10.99.0.0/24.
import { AxeBuilder } from "@axe-core/playwright";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { env, folder, open, picture, signIn, type Session } from "./browser";

let session: Session;
let home: string;

beforeAll(async () => {
  session = await signIn();
  home = new URL(session.page.url()).pathname;
});
afterAll(() => session?.browser.close());

const visit = async (page: Page, path: string) => {
  await page.goto(`${env("NEBULA_URL")}${path}`);
  await page.locator(".frame main h1").first().waitFor();
  await page.locator(".skeleton").first().waitFor({ state: "detached" });
};
const PAGES: Record<string, string> = {
  overview: "",
  devices: "/devices",
  invite: "/devices/add",
  matrix: "/access",
  rules: "/access/rules",
  routes: "/access/routes",
  explain: "/access/explain",
  pools: "/pools",
  peers: "/peers",
  library: "/library",
  shares: "/shares",
  trash: "/trash",
  jobs: "/jobs",
};
const OUTSIDE: Record<string, string> = { nodes: "/nodes", events: "/events", people: "/people", settings: "/settings", authorities: "/settings/authorities", storage: "/settings/storage", me: "/me", nowhere: "/nothing/here" };
const all = () => [...Object.entries(PAGES).map(([name, path]) => [name, home + path] as const), ...Object.entries(OUTSIDE)];

/** What axe finds that keeps people from using the page. */
async function faults(page: Page): Promise<string[]> {
  const { violations } = await new AxeBuilder({ page }).withTags(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]).analyze();
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html.slice(0, 120)).join(" | ")}`);
}

const isWide = (page: Page) => page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);

/** A desk in daylight, and the narrowest phone at night. */
const VIEWS = [
  { width: 1280, colorScheme: "light" },
  { width: 320, colorScheme: "dark" },
] as const;

async function show(page: Page, { width, colorScheme }: (typeof VIEWS)[number]) {
  await page.setViewportSize({ width, height: 900 });
  await page.emulateMedia({ colorScheme });
  await expect.poll(() => page.evaluate(() => document.documentElement.dataset["theme"])).toBe(colorScheme);
}

test("axe finds nothing serious on any page, and none is wider than a small phone", async () => {
  const { page } = session;
  const found: Record<string, string[]> = {};
  for (const [n, [name, path]] of all().entries()) {
    await visit(page, path);
    // Colours are judged by tokens.test.ts in both themes; so each page is looked at in one view, and in both where pictures are made.
    for (const view of VIEWS.filter((_, at) => import.meta.env["NEBULA_SHOTS"] || at === n % 2)) {
      await show(page, view);
      const wrong = await faults(page);
      if (wrong.length) found[`${name}, ${view.width}, ${view.colorScheme}`] = wrong;
    }
    await show(page, VIEWS[1]);
    if (await isWide(page)) found[`${name}, width`] = ["wider than the screen"];
  }
  await show(page, VIEWS[0]);
  expect(found).toEqual({});
}, 180_000);

test("every page has pictures, where somebody wants them", async () => {
  if (!import.meta.env["NEBULA_SHOTS"]) return;
  const { page } = session;
  for (const width of [1280, 390]) {
    for (const colorScheme of ["light", "dark"] as const) {
      await page.setViewportSize({ width, height: 900 });
      await page.emulateMedia({ colorScheme });
      for (const [name, path] of all()) {
        await visit(page, path);
        await picture(page, `${name}-${width}-${colorScheme}`);
      }
    }
  }
  await page.setViewportSize({ width: 1280, height: 900 });
}, 300_000);

test("a device gets groups, which a rule then names", async () => {
  const { page } = session;
  await visit(page, `${home}/devices`);
  await page.getByRole("link", { name: "nas", exact: true }).click();
  await page.getByRole("heading", { name: "nas", level: 1 }).waitFor();
  await page.getByRole("button", { name: "Change" }).click();
  await page.getByRole("dialog").getByLabel("Groups").fill("servers");
  await page.getByRole("dialog").getByRole("button", { name: "Save" }).click();
  await page.locator(".facts .pill", { hasText: "servers" }).waitFor();
  await open(page, "Access");
  await page.getByRole("button", { name: "Close inbound" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Close inbound" }).click();
  await page.getByText("Closed inbound").waitFor();
  await page.getByRole("button", { name: "From any device to servers: –" }).click();
  await page.getByLabel("Ports").fill("22-");
  await page.getByText("A port is a number").waitFor();
  await page.getByLabel("Ports").fill("22");
  // As the gateway computes it from all rules.
  await page.getByText("Can reach then:").waitFor();
  await page.getByText("Nobody loses anything.").waitFor();
  await picture(page, "rule-preview");
  await page.getByRole("button", { name: "Add", exact: true }).click();
  await page.getByRole("button", { name: "From any device to servers: tcp 22" }).waitFor();
  await page.getByRole("link", { name: "May A reach B?" }).click();
  await page.getByRole("combobox", { name: "From" }).selectOption({ label: "laptop" });
  await page.getByRole("combobox", { name: "To", exact: true }).selectOption({ label: "nas" });
  await page.getByLabel("Port", { exact: true }).fill("23");
  await page.getByText("No: something stops laptop on the way to nas.").waitFor();
  expect(new URL(page.url()).searchParams.get("port")).toBe("23");
  await picture(page, "explain");
  await page.getByRole("link", { name: "Rules" }).click();
  await page.getByRole("button", { name: /^Remove the rule any device → servers, tcp 22/ }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Remove" }).click();
  await page.getByText("No rules").waitFor();
});

test("an invitation is watched until the device has joined, and its link shows the same guide to strangers", async () => {
  const { page } = session;
  await visit(page, `${home}/devices/add`);
  await page.getByRole("button", { name: "Make the code" }).click();
  const code = await page.locator(".invite.made strong.mono").textContent();
  const link = await page.locator(".invite.made .command code").last().textContent();
  await page.getByText("Waiting for its first call").waitFor();
  await page.getByRole("img", { name: "QR code of the link" }).waitFor();
  // Escape does not close what is shown once.
  await page.keyboard.press("Escape");
  const publicKey = btoa(String.fromCharCode(...Uint8Array.from({ length: 32 }, (_, n) => (n * 7 + 9) % 256)));
  const { data } = (await (await page.request.get(`${env("NEBULA_URL")}/api/projects`, { headers: await bearer(page) })).json()) as { data: { projectId: string }[] };
  const body = { projectId: data[0]?.projectId, deviceId: "0198c0de-0000-7000-8000-0000000000aa", deviceName: "newcomer", publicKey, enrolmentCode: code };
  expect((await page.request.post(`${env("NEBULA_URL")}/api/nebula/register`, { data: body })).status()).toBe(200);
  await page.getByText(/newcomer is 10\./).waitFor();
  await picture(page, "invite-joined");
  await page.getByRole("button", { name: "Done" }).click();
  await page.getByRole("link", { name: "newcomer" }).waitFor();
  const stranger = await session.browser.newPage();
  await stranger.goto(link ?? "");
  await stranger.getByText(`--code ${code}`).or(stranger.getByText(new RegExp(`-- ${code} `))).or(stranger.getByText("no nebulactl to give away")).first().waitFor();
  await stranger.getByRole("button", { name: "nebulactl is there already" }).click();
  await stranger.getByText(`join --code ${code} --install`).waitFor();
  await stranger.close();
});

/** The header of a request as the person who is signed in. */
async function bearer(page: Page): Promise<Record<string, string>> {
  const answer = await page.request.post(`${env("NEBULA_URL")}/api/auth/login`, { data: { username: env("NEBULA_USERNAME"), password: env("NEBULA_PASSWORD") } });
  return { authorization: `Bearer ${((await answer.json()) as { accessToken: string }).accessToken}` };
}

test("a configuration is made with a key that is in the file and was not sent", async () => {
  const { page } = session;
  await visit(page, `${home}/devices`);
  await page.getByRole("link", { name: "laptop", exact: true }).click();
  await page.getByRole("button", { name: "Generate config" }).click();
  let sent = "";
  page.on("request", (request) => (sent += request.postData() ?? ""));
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Make the file" }).click()]);
  expect(download.suggestedFilename()).toBe("laptop.zip");
  await download.saveAs(`${folder()}/laptop.zip`);
  await page.getByText("It has the private key in it").waitFor();
  const { readFile } = (await import(String("node:fs/promises"))) as { readFile: (path: string) => Promise<Uint8Array> };
  const { unzipSync, strFromU8 } = await import("fflate");
  const files = unzipSync(await readFile(`${folder()}/laptop.zip`));
  const [, key = ""] = strFromU8(files["node.key"] ?? new Uint8Array()).split("\n");
  expect(Object.keys(files).sort()).toEqual(["README.md", "ca.crt", "nebula.yml", "node.crt", "node.key"]);
  expect([atob(key).length, sent.includes(key)]).toEqual([32, false]);
});

test("a device is revoked, and the page says who does not know yet", async () => {
  const { page } = session;
  await visit(page, `${home}/devices`);
  await page.getByRole("link", { name: "lost", exact: true }).click();
  await page.getByRole("button", { name: "Revoke", exact: true }).click();
  await page.getByRole("button", { name: "Revoke lost" }).click();
  await page.getByText(/0 of \d devices refuse it by now/).waitFor();
  await page.getByText(/Not yet: .*door/).waitFor();
  await picture(page, "revocation");
  await page.getByRole("link", { name: "Events", exact: true }).last().click();
  await page.getByText("revoked the device").waitFor();
});

test("a member is added, gets a role, and is removed", async () => {
  const { page } = session;
  await visit(page, "/people");
  await page.getByLabel("Username").fill("ben");
  await page.getByRole("button", { name: "Add to the project" }).click();
  const role = page.getByLabel("Role of ben");
  await role.selectOption("viewer");
  await page.getByText("sees and plays").waitFor();
  await page.reload();
  await role.waitFor();
  expect(await role.inputValue()).toBe("viewer");
  await page.getByRole("button", { name: "Remove ben from the project" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Remove" }).click();
  await role.waitFor({ state: "detached" });
});

test("an invitation is a link that is shown once, and can be ended; a password changes only for the person who knows it", async () => {
  const { page } = session;
  await visit(page, "/people");
  await page.getByLabel("For whom").fill("Eve");
  await page.getByRole("button", { name: "Make a link" }).click();
  await page.getByRole("img", { name: "QR code of the invitation" }).waitFor();
  expect(await page.getByRole("dialog").locator("code").textContent()).toMatch(/\/invite#./);
  await page.getByRole("dialog").getByRole("button", { name: "Done" }).click();
  await page.getByRole("button", { name: "End the invitation for Eve" }).click();
  await page.getByRole("button", { name: "End the invitation for Eve" }).waitFor({ state: "detached" });
  await visit(page, "/me");
  await page.getByLabel("Present password").fill("not this one");
  await page.getByLabel("New password").fill("entirely-other-words");
  await page.getByRole("button", { name: "Change", exact: true }).click();
  await page.getByRole("alert").waitFor();
});

test("a pool is made, extended, disabled and removed; a range that is taken is refused in words", async () => {
  const { page } = session;
  await visit(page, `${home}/pools`);
  const save = async (range: string) => {
    await page.getByRole("dialog").getByLabel("Range").fill(range);
    await page.getByRole("dialog").getByRole("button", { name: "Save" }).click();
  };
  await page.getByRole("link", { name: "default", exact: true }).click();
  // The pool of 256 addresses is shown by single ones; the lighthouse has one of them.
  const map = page.getByRole("group", { name: "Use of the addresses" });
  await map.getByRole("button", { name: /door/ }).waitFor();
  expect(await map.getByRole("button").count()).toBe(256);
  await picture(page, "pool-map");
  await page.goBack();
  await page.getByRole("button", { name: "New pool" }).click();
  await page.getByLabel("Name").fill("guests");
  await save("10.99.0.0/25");
  await page.getByRole("dialog").getByRole("alert").filter({ hasText: "overlap" }).waitFor();
  await save("10.99.7.0/24");
  const row = page.getByRole("list", { name: "Pools" }).getByRole("listitem").filter({ hasText: "guests" });
  await row.getByRole("button", { name: "Change the range of guests" }).click();
  await save("10.99.6.0/23");
  await row.getByText("10.99.6.0/23").waitFor();
  await row.getByRole("button", { name: "Disable guests" }).click();
  await row.getByText("disabled", { exact: true }).waitFor();
  await row.getByRole("button", { name: "Remove guests" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Remove" }).click();
  await row.waitFor({ state: "detached" });
});

test("the palette finds a device by its name, and keys lead to pages", async () => {
  const { page } = session;
  await visit(page, home);
  await page.keyboard.press("Control+k");
  await page.getByRole("combobox", { name: "Search everything" }).fill("lapt");
  await page.getByRole("option", { name: /laptop/ }).waitFor();
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "laptop", level: 1 }).waitFor();
  await page.keyboard.press("g");
  await page.keyboard.press("j");
  await page.getByRole("heading", { name: "Jobs", level: 1 }).waitFor();
  await page.keyboard.press("?");
  await page.getByRole("dialog", { name: "Keys" }).waitFor();
  await page.keyboard.press("Escape");
  await page.goBack();
  await page.getByRole("heading", { name: "laptop", level: 1 }).waitFor();
});

test("a filter is part of the address, which survives reload and the way back; old addresses lead on", async () => {
  const { page } = session;
  await visit(page, `${home}/devices`);
  await page.getByRole("button", { name: /^revoked/ }).click();
  await page.getByRole("link", { name: "nas", exact: true }).waitFor({ state: "detached" });
  expect(new URL(page.url()).search).toBe("?state=revoked");
  await page.reload();
  await page.getByRole("link", { name: "lost", exact: true }).click();
  await page.getByRole("heading", { name: "lost", level: 1 }).waitFor();
  await page.goBack();
  await page.getByRole("link", { name: "lost", exact: true }).waitFor();
  expect(await page.getByRole("link", { name: "nas", exact: true }).count()).toBe(0);
  await page.goto(`${env("NEBULA_URL")}/#${home.replace("/p", "")}/files`);
  await page.getByRole("heading", { name: "Library", level: 1 }).waitFor();
  expect(new URL(page.url()).pathname).toBe(`${home}/library`);
});

test("of ten thousand devices only the rows in the window are drawn, and the last one is reached", async () => {
  const { page } = session;
  const { data } = (await (await page.request.get(`${env("NEBULA_URL")}/api/devices`, { headers: await bearer(page) })).json()) as { data: object[] };
  const many = Array.from({ length: 10_000 }, (_, n) => ({ ...data[0], deviceId: `0198c0de-0000-7000-8000-${String(n).padStart(12, "0")}`, name: `device-${String(n).padStart(5, "0")}` }));
  await page.route("**/api/devices?*", (route) => route.fulfill({ json: { success: true, data: many } }));
  await visit(page, `${home}/devices`);
  const rows = page.locator("table tbody tr:not(.space)");
  await page.getByRole("link", { name: "device-00000" }).waitFor();
  expect(await page.getByRole("table").getAttribute("aria-rowcount")).toBe("10001");
  expect(await rows.count()).toBeLessThan(60);
  await expect
    .poll(async () => {
      await page.evaluate(() => window.scrollTo(0, document.body.scrollHeight));
      return page.getByRole("link", { name: "device-09999" }).count();
    })
    .toBe(1);
  expect(await rows.count()).toBeLessThan(60);
  await page.unroute("**/api/devices?*");
});

test("a panel that fails says so, without emptying the others, and tries again", async () => {
  const { page } = session;
  const failure = { success: false, error: "unavailable", sqlstate: "08006", detail: "the database cannot be reached", hint: "Ask whoever runs it." };
  await page.route("**/api/pools*", (route) => route.fulfill({ status: 503, json: failure }));
  await visit(page, home);
  const alert = page.getByRole("alert").filter({ hasText: "The database cannot be reached." });
  await alert.waitFor();
  await page.getByText("Devices online").waitFor();
  await page.unroute("**/api/pools*");
  await alert.getByRole("button", { name: "Try again" }).click();
  await alert.waitFor({ state: "detached" });
});

test("a session that is ended elsewhere asks to sign in over the page; signing out ends every tab at once", async () => {
  const { page } = session;
  const { browser } = session;
  const own = await browser.newContext();
  const [one, other] = [await own.newPage(), await own.newPage()];
  await one.goto(env("NEBULA_URL"));
  await one.getByLabel("Username").fill(env("NEBULA_USERNAME"));
  await one.getByLabel("Password").fill(env("NEBULA_PASSWORD"));
  await one.getByLabel("Keep me signed in").check();
  await one.getByRole("button", { name: "Sign in" }).click();
  await one.locator(".frame main h1").first().waitFor();
  await other.goto(`${env("NEBULA_URL")}/me`);
  await other.getByRole("heading", { name: "My account", level: 1 }).waitFor();
  await one.getByRole("button", { name: "Sign out" }).first().click();
  await other.getByText("You signed out in another tab.").waitFor({ timeout: 3000 });
  const sheet = other.locator(".signin");
  await sheet.getByLabel("Username").fill(env("NEBULA_USERNAME"));
  await sheet.getByLabel("Password").fill(env("NEBULA_PASSWORD"));
  await sheet.getByLabel("Keep me signed in").check();
  await sheet.getByRole("button", { name: "Sign in" }).click();
  await other.getByRole("dialog", { name: "Sign in" }).waitFor({ state: "detached" });
  // Ended by the same person in another browser.
  await visit(page, "/me");
  await page.getByRole("button", { name: "End all others" }).click();
  await other.getByRole("dialog", { name: "Sign in" }).waitFor();
  await picture(other, "session-ended");
  await own.close();
});

test("neither scripts nor the security policy complained", () => {
  expect(session.complaints).toEqual([]);
});
