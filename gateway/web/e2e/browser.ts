// A Chromium that is signed in to the console, and everything that it complained about.
import { chromium, type Browser, type Page } from "playwright-core";

/** Variables that the story sets. */
export const env = (name: string): string => {
  const value: unknown = import.meta.env[name];
  if (typeof value !== "string" || value === "") throw new Error(`set ${name}, or run make test-stories T=console`);
  return value;
};

export interface Session {
  browser: Browser;
  page: Page;
  /** Errors of scripts and violations of the content security policy. */
  complaints: string[];
}

export async function signIn(width = 1280): Promise<Session> {
  const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
  const context = await browser.newContext({ viewport: { width, height: 900 }, acceptDownloads: true });
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  const complaints: string[] = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  // Violations of the content policy are errors of the console of the browser, too.
  page.on("console", (message) => {
    // Answers with an error status are shown to the person; the browser tells them as well.
    if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) complaints.push(message.text());
  });
  await page.goto(env("NEBULA_URL"));
  await page.getByLabel("Username").fill(env("NEBULA_USERNAME"));
  await page.getByLabel("Password").fill(env("NEBULA_PASSWORD"));
  await page.getByRole("button", { name: "Sign in" }).click();
  // The start leads to the first project.
  await page.waitForURL("**/p/*");
  await page.locator(".frame main h1").first().waitFor();
  return { browser, page, complaints };
}

/** Goes to a page by the bar; on a phone most of it is behind a button. */
export async function open(page: Page, name: string): Promise<void> {
  const bar = page.getByRole("navigation", { name: "Pages" });
  if (!(await bar.isVisible())) await page.getByRole("button", { name: "More" }).click();
  await bar.getByRole("link", { name, exact: true }).click();
  await page.getByRole("heading", { name, level: 1 }).waitFor();
}

/** Keeps a picture for people to look at. */
export const picture = (page: Page, name: string) => page.screenshot({ path: `${env("NEBULA_PICTURES")}/${name}.png` });

export const folder = () => env("NEBULA_PICTURES");

/** Path of a share link to the film of the story. */
export const share = () => env("NEBULA_SHARE");
