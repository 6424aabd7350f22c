// The story has uploaded film.mkv of 20 seconds, whose streams have the heights 540 and 480.
import { afterAll, beforeAll, expect, test } from "vitest";
import { open, picture, share, signIn, type Session } from "./browser";

let session: Session;

beforeAll(async () => {
  session = await signIn();
  await open(session.page, "Files");
});

afterAll(() => session?.browser.close());

/** Waits until the picture has this height, and goes on. */
const shows = (height: number) =>
  session.page.waitForFunction((wanted) => {
    const video = document.querySelector("video");
    if (!video || video.videoHeight !== wanted) return false;
    const at = (video.dataset["at"] ??= String(video.currentTime));
    return video.currentTime > Number(at) + 0.2;
  }, height);

test("a film plays in the size that is chosen, and changes it while it plays", async () => {
  const { page } = session;
  await page.getByRole("button", { name: /Play/ }).first().click();
  const quality = page.getByLabel("Quality");
  await quality.waitFor();
  expect(await quality.locator("option").allTextContents()).toEqual(["Auto", "540p", "480p"]);
  for (const height of [480, 540]) {
    await page.evaluate(() => delete document.querySelector("video")?.dataset["at"]);
    await quality.selectOption({ label: `${height}p` });
    await shows(height);
  }
  await page.getByText("540p is shown").waitFor();
  await picture(page, "player");
});

test("a seek to the end plays on from there", async () => {
  const { page } = session;
  await page.evaluate(() => {
    const video = document.querySelector("video");
    if (!video) throw new Error("no video");
    delete video.dataset["at"];
    video.currentTime = 16;
    return video.play();
  });
  await shows(540);
  expect(await page.evaluate(() => document.querySelector("video")?.duration)).toBeCloseTo(20, 0);
});

test("a film that was closed goes on where it was", async () => {
  const { page } = session;
  const noted = page.waitForResponse((answer) => answer.url().endsWith("/bookmark") && answer.request().postDataJSON().seconds === 10);
  await page.evaluate(() => {
    const video = document.querySelector("video");
    if (!video) throw new Error("no video");
    video.pause();
    video.currentTime = 10;
  });
  await page.waitForFunction(() => document.querySelector("video")?.currentTime === 10);
  await page.keyboard.press("Escape");
  expect((await noted).ok()).toBe(true);
  await page.waitForFunction(() => !document.querySelector("video"));
  await page.reload();
  await page.getByRole("button", { name: /Play/ }).first().click();
  await page.waitForFunction(() => (document.querySelector("video")?.currentTime ?? 0) >= 10);
});

test("a file that is deleted waits in the trash and is restored from there", async () => {
  const { page } = session;
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "Delete film.mkv" }).click();
  await page.getByRole("button", { name: "Delete", exact: true }).click();
  await page.getByRole("button", { name: "Restore film.mkv" }).click();
  await page.getByRole("button", { name: "Play film.mkv" }).waitFor();
  expect(await page.getByRole("button", { name: "Restore film.mkv" }).count()).toBe(0);
});

test("a link plays the film for somebody who is not signed in", async () => {
  const { page } = session;
  await page.evaluate(() => window.localStorage.clear());
  await page.goto(new URL(share(), page.url()).href);
  await page.getByLabel("Password").fill("rosebud");
  await page.getByRole("button", { name: "Open" }).click();
  await page.getByRole("heading", { name: "film.mkv" }).waitFor();
  await page.evaluate(() => {
    const video = document.querySelector("video");
    if (!video) throw new Error("no video");
    video.muted = true;
    return video.play();
  });
  await page.waitForFunction(() => (document.querySelector("video")?.currentTime ?? 0) > 0.2);
  expect(await page.getByRole("link", { name: /Download/ }).count()).toBe(1);
  await picture(page, "share");
});

test("nothing was refused by the content policy, and no script failed", () => {
  expect(session.complaints).toEqual([]);
});
