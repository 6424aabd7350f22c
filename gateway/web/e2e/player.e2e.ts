// The story has uploaded film.mkv of 20 seconds, whose streams have the heights 540 and 480, with two subtitles; late.mkv in the folder
// "cinema", whose subtitles the story lets be made once it plays; and nothing.mkv, which cannot be converted.
import { afterAll, beforeAll, expect, test } from "vitest";
import { env, open, picture, share, signIn, type Session } from "./browser";

let session: Session;

beforeAll(async () => {
  session = await signIn();
  await open(session.page, "Library");
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

const playFrom = (second: number) =>
  session.page.evaluate((at) => {
    const video = document.querySelector("video");
    if (!video) throw new Error("no video");
    delete video.dataset["at"];
    video.currentTime = at;
    return video.play();
  }, second);

const now = () => session.page.evaluate(() => document.querySelector("video")?.currentTime ?? -1);
/** As the controls have heard: the next key goes on from there. */
const isPaused = async () => (await session.page.locator("media-controller").getAttribute("mediapaused")) !== null;

/** Opens a part of the settings, and answers its entries. */
async function entries(part: string) {
  const { page } = session;
  await page.locator("media-settings-menu-button").click();
  await page.getByRole("menuitem", { name: part }).click();
  const menu = page.getByRole("menu", { name: part });
  await menu.getByRole("menuitemradio").first().waitFor();
  return menu.getByRole("menuitemradio").allTextContents();
}

async function choose(part: string, entry: string) {
  const { page } = session;
  // While it closes it is still seen.
  const isClosed = await page.locator(`media-settings-menu [slot=submenu][aria-label="${part}"]`).getAttribute("hidden");
  if (isClosed !== null) await entries(part);
  await page.getByRole("menu", { name: part }).getByRole("menuitemradio", { name: entry, exact: true }).click();
  await page.keyboard.press("Escape");
  await page.locator("media-settings-menu[hidden]").waitFor({ state: "attached" });
}

test("subtitles that are made while a film plays appear without opening it again", async () => {
  const { page } = session;
  await page.getByRole("link", { name: "Play late.mkv" }).click();
  await shows(480);
  expect(await page.locator("media-captions-button").count()).toBe(0);
  // The bookmark of the pause tells the story that the player has begun: it lets the subtitles be made.
  await page.evaluate(() => document.querySelector("video")?.pause());
  await page.locator("media-captions-button").waitFor();
  expect(await entries("Subtitles")).toEqual(["Off", "English"]);
  await page.goBack();
  await page.waitForFunction(() => !document.querySelector("video"));
});

test("the list shows the poster of the film", async () => {
  const poster = session.page.getByRole("listitem").filter({ hasText: "film.mkv" }).locator(".poster img");
  await poster.waitFor();
  expect(await poster.evaluate((image: HTMLImageElement) => image.decode().then(() => [image.naturalWidth, image.naturalHeight]))).toEqual([960, 540]);
  await picture(session.page, "posters");
});

test("a film plays in the size that is chosen, and changes it while it plays", async () => {
  const { page } = session;
  await page.getByRole("link", { name: "Play film.mkv" }).click();
  // In whichever size the line takes.
  await page.waitForFunction(() => (document.querySelector("video")?.videoHeight ?? 0) > 0);
  expect(await entries("Quality")).toEqual(["Auto", "540p", "480p"]);
  await picture(page, "quality");
  for (const height of [480, 540]) {
    await choose("Quality", `${height}p`);
    await playFrom(0);
    await shows(height);
  }
  expect(await page.locator(".film .now").textContent()).toBe("540p");
  await picture(page, "player");
});

test("a seek to the end plays on from there", async () => {
  const { page } = session;
  await playFrom(16);
  await shows(540);
  expect(await page.evaluate(() => document.querySelector("video")?.duration)).toBeCloseTo(20, 0);
});

test("keys play, pause and seek, wherever the focus is on the player's page", async () => {
  const { page } = session;
  await page.evaluate(() => document.querySelector("video")?.pause());
  for (const focus of ["player", "nowhere"]) {
    await page.evaluate((place) => {
      const [player, video] = [document.querySelector<HTMLElement>("media-controller"), document.querySelector("video")];
      if (!player || !video) throw new Error("no player");
      if (place === "player") player.focus();
      else (document.activeElement as HTMLElement).blur();
      video.currentTime = 2;
    }, focus);
    await expect.poll(now).toBe(2);
    await page.keyboard.press(" ");
    await expect.poll(isPaused, { message: focus }).toBe(false);
    await page.keyboard.press(" ");
    await expect.poll(isPaused, { message: focus }).toBe(true);
    const before = await now();
    // The place that the controls have heard of, from which the next key goes on.
    const told = async () => Number(await page.locator("media-controller").getAttribute("mediacurrenttime"));
    await expect.poll(told, { message: focus }).toBeCloseTo(before, 1);
    await page.keyboard.press("ArrowRight");
    await expect.poll(told, { message: focus }).toBeCloseTo(before + 10, 0);
    await page.keyboard.press("ArrowLeft");
    await expect.poll(told, { message: focus }).toBeCloseTo(before, 0);
  }
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
  expect(await entries("Subtitles")).toEqual(["Off", "English", "Untertitel"]);
  expect(await lines()).toEqual([]);
  // The player's clock begins with the decoding of the first picture, which is shown a little later. Segments begin at multiples of four
  // seconds of the film, so that the start of what is loaded tells by how much.
  const begin = (await page.evaluate(() => document.querySelector("video")?.buffered.start(0) ?? 0)) % 4;
  for (const [label, text] of [["English", "Good evening"], ["Untertitel", "Schönen guten Abend"]] as const) {
    await choose("Subtitles", label);
    await expect.poll(lines, { timeout: 15_000 }).toEqual([[text, expect.closeTo(4 + begin, 2), expect.closeTo(9.5 + begin, 2)]]);
  }
  await picture(page, "subtitles");
  await choose("Subtitles", "Off");
  await expect.poll(lines).toEqual([]);
});

test("the bar shows what is where the pointer is, and a click goes there", async () => {
  const { page } = session;
  const bar = page.locator("media-time-range");
  const box = await bar.boundingBox();
  if (!box) throw new Error("no bar");
  const thumbnail = page.locator("media-preview-thumbnail");
  const places = new Set<string | null>();
  for (const part of [0.05, 0.9]) {
    await page.mouse.move(box.x + box.width * part, box.y + box.height / 2);
    await expect.poll(() => thumbnail.locator("img").evaluate((image: HTMLImageElement) => image.complete && image.naturalWidth)).toBeGreaterThan(160);
    places.add(await thumbnail.getAttribute("mediapreviewcoords"));
  }
  expect(places.size).toBe(2);
  await expect.poll(async () => (await thumbnail.boundingBox())?.width).toBeGreaterThan(100);
  await picture(page, "seek");
  await page.mouse.click(box.x + box.width * 0.5, box.y + box.height / 2);
  await expect.poll(now).toBeCloseTo(10, 0);
});

test("other players get addresses of the film, and VLC its place", async () => {
  const { page } = session;
  await page.getByText("Play in VLC or another player").click();
  const download = page.waitForEvent("download");
  await page.getByRole("button", { name: /Playlist for VLC/ }).click();
  expect((await download).suggestedFilename()).toBe("film.mkv.m3u");
  const urls = await page.locator(".elsewhere code").allTextContents();
  expect(urls.map((url) => new URL(url).pathname.split("/").slice(4).join("/"))).toEqual(["content", "hls/master.m3u8"]);
  for (const url of urls) expect((await fetch(url, { headers: { range: "bytes=0-9" } })).status).toBeLessThan(300);
});

test("a film that was closed goes on where it was, and the way back closes it", async () => {
  const { page } = session;
  const noted = page.waitForResponse((answer) => answer.url().endsWith("/bookmark") && answer.request().postDataJSON().seconds === 10);
  await page.evaluate(() => {
    const video = document.querySelector("video");
    if (!video) throw new Error("no video");
    video.pause();
    video.currentTime = 10;
  });
  await page.waitForFunction(() => document.querySelector("video")?.currentTime === 10);
  await page.goBack();
  expect((await noted).ok()).toBe(true);
  await page.waitForFunction(() => !document.querySelector("video"));
  await page.getByRole("heading", { name: "Library" }).waitFor();
  await page.reload();
  await page.getByRole("link", { name: "Play film.mkv" }).click();
  await page.waitForFunction(() => (document.querySelector("video")?.currentTime ?? 0) >= 10);
  await page.keyboard.press("Escape");
  await page.waitForFunction(() => !document.querySelector("video"));
});

test("a film that failed says why, and is kept as a file", async () => {
  const { page } = session;
  await page.getByRole("link", { name: "Why nothing.mkv failed" }).click();
  await page.getByRole("heading", { name: "This file could not be converted" }).waitFor();
  expect(await page.locator(".failed .reason").textContent()).toMatch(/\w+ .*\./);
  await picture(page, "failed");
  await page.getByRole("button", { name: "Keep as a file" }).click();
  await page.getByRole("link", { name: "Why nothing.mkv failed" }).waitFor({ state: "detached" });
  await page.getByText("nothing.mkv").first().waitFor();
});

test("a file that is deleted waits in the trash and is restored from there", async () => {
  const { page } = session;
  await page.getByRole("button", { name: "Delete film.mkv" }).click();
  await page.getByRole("button", { name: "Delete", exact: true }).click();
  await page.getByRole("link", { name: "Play film.mkv" }).waitFor({ state: "detached" });
  await open(page, "Trash");
  await page.getByRole("button", { name: "Restore film.mkv" }).click();
  await page.getByRole("button", { name: "Restore film.mkv" }).waitFor({ state: "detached" });
  await open(page, "Library");
  await page.getByRole("link", { name: "Play film.mkv" }).first().waitFor();
});

const plays = () => session.page.waitForFunction(() => (document.querySelector("video")?.currentTime ?? 0) > 0.2);

test("a link plays the film for somebody who is not signed in, with poster and pictures to seek by", async () => {
  const { page } = session;
  await page.evaluate(() => window.localStorage.clear());
  await page.goto(new URL(share(), page.url()).href);
  await page.getByLabel("Password").fill("rosebud");
  await page.getByRole("button", { name: "Open" }).click();
  await page.getByRole("heading", { name: "film.mkv" }).waitFor();
  await page.locator("img.still").evaluate((image: HTMLImageElement) => image.decode());
  await picture(page, "share");
  await page.locator("media-play-button.first").click();
  await plays();
  await page.locator("media-time-range").hover();
  await expect.poll(() => page.locator("media-preview-thumbnail img").evaluate((image: HTMLImageElement) => image.naturalWidth)).toBeGreaterThan(160);
  expect(await page.getByRole("link", { name: /Download/ }).count()).toBe(1);
});

test("a link to a folder shows its films, plays them, and the way back leads to the list", async () => {
  const { page } = session;
  await page.goto(new URL(env("NEBULA_SHARED_FOLDER"), page.url()).href);
  await page.getByRole("heading", { name: "cinema" }).waitFor();
  await page.locator(".shelf img").evaluate((image: HTMLImageElement) => image.decode());
  await picture(page, "folder");
  await page.getByRole("button", { name: /late.mkv/ }).click();
  await page.getByRole("heading", { name: "late.mkv" }).waitFor();
  await plays();
  await page.goBack();
  await page.getByRole("heading", { name: "cinema" }).waitFor();
  expect(await page.locator("video").count()).toBe(0);
});

test("nothing was refused by the content policy, and no script failed", () => {
  expect(session.complaints).toEqual([]);
});
