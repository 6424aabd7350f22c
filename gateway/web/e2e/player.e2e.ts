// The story has uploaded film.mkv of 20 seconds, whose streams have the heights 540 and 480, with two subtitles.
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

test("the list shows the poster of the film", async () => {
  const poster = session.page.locator(".poster img").first();
  await poster.waitFor();
  expect(await poster.evaluate((image: HTMLImageElement) => image.decode().then(() => [image.naturalWidth, image.naturalHeight]))).toEqual([960, 540]);
  await picture(session.page, "posters");
});

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

/** What the browser shows of the subtitles now: text and seconds of each line. */
const lines = () =>
  session.page.evaluate(() =>
    [...(document.querySelector("video")?.textTracks ?? [])]
      .filter((track) => track.mode === "showing")
      .flatMap((track) => [...(track.activeCues ?? [])].map((cue) => [(cue as VTTCue).text, cue.startTime, cue.endTime])),
  );

test("the subtitles that are chosen are shown, at their time", async () => {
  const { page } = session;
  await page.evaluate(() => {
    const video = document.querySelector("video");
    video?.pause();
    if (video) video.currentTime = 5;
  });
  const subtitles = page.getByLabel("Subtitles");
  expect(await subtitles.locator("option").allTextContents()).toEqual(["None", "English", "Untertitel"]);
  expect(await lines()).toEqual([]);
  // The player's clock begins with the decoding of the first picture, which is shown a little later. Segments begin at multiples of four
  // seconds of the film, so that the start of what is loaded tells by how much.
  const begin = (await page.evaluate(() => document.querySelector("video")?.buffered.start(0) ?? 0)) % 4;
  for (const [label, text] of [["English", "Good evening"], ["Untertitel", "Schönen guten Abend"]] as const) {
    await subtitles.selectOption({ label });
    await expect.poll(lines, { timeout: 15_000 }).toEqual([[text, expect.closeTo(4 + begin, 2), expect.closeTo(9.5 + begin, 2)]]);
  }
  await picture(page, "subtitles");
  await subtitles.selectOption({ label: "None" });
  await expect.poll(lines).toEqual([]);
});

test("the bar shows what is where the pointer is, and a click goes there", async () => {
  const { page } = session;
  const bar = page.getByLabel("Seek");
  const box = await bar.boundingBox();
  if (!box) throw new Error("no bar");
  const tile = page.locator(".seek .tile");
  const places: string[] = [];
  for (const part of [0.05, 0.9]) {
    await page.mouse.move(box.x + box.width * part, box.y + box.height / 2);
    await expect.poll(() => tile.evaluate((one) => one.style.backgroundImage)).toMatch(/^url\("blob:/);
    places.push(await tile.evaluate((one) => one.style.backgroundPosition));
  }
  expect(new Set(places).size).toBe(2);
  expect(await tile.evaluate((one) => [one.clientWidth, one.clientHeight])).toEqual([160, 90]);
  await picture(page, "seek");
  await page.mouse.click(box.x + box.width * 0.5, box.y + box.height / 2);
  await expect.poll(() => page.evaluate(() => document.querySelector("video")?.currentTime ?? 0)).toBeCloseTo(10, 0);
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
