// The story has made an invitation, and the account anna, whose second factor is on.
import { chromium, type Browser, type Page } from "playwright-core";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { env, picture } from "./browser";

let browser: Browser;
let page: Page;
const complaints: string[] = [];

beforeAll(async () => {
  browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
});

beforeEach(async () => {
  page = await (await browser.newContext({ viewport: { width: 390, height: 844 } })).newPage();
  page.setDefaultTimeout(15_000);
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) complaints.push(message.text());
  });
});

afterAll(async () => {
  await browser?.close();
  expect(complaints).toEqual([]);
});

test("who opens an invitation chooses name and password, and is in the console", async () => {
  await page.goto(env("NEBULA_INVITATION"));
  await page.getByText("invites you to the project").waitFor();
  await picture(page, "invitation");
  await page.getByLabel("Username").fill("Eve");
  await page.getByLabel("Password").fill(env("NEBULA_PASSWORD"));
  await page.getByRole("button", { name: "Make my account" }).click();
  await page.locator(".frame main h1").first().waitFor();
  expect(page.url()).not.toContain("invite");
});

test("an invitation that was used opens nothing, and says so", async () => {
  await page.goto(env("NEBULA_INVITATION"));
  await page.getByRole("heading", { name: "This invitation opens nothing" }).waitFor();
  await page.getByText("was used").waitFor();
});

test("an account with a second factor is asked for a code", async () => {
  await page.goto(env("NEBULA_URL"));
  await page.getByLabel("Username").fill("anna");
  await page.getByLabel("Password").fill(env("NEBULA_PASSWORD"));
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByLabel("Code").fill(env("NEBULA_CODE"));
  await picture(page, "sign-in-code");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.locator(".frame main h1").first().waitFor();
});
