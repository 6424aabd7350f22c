// The story has made the files, kills the gateway while the first upload runs, and starts it again.
import { afterAll, beforeAll, expect, test } from "vitest";
import { folder, open, picture, signIn, type Session } from "./browser";

/** Bytes per second, so that an upload takes seconds. */
const LINE = 3 * 1024 * 1024;

let session: Session;
/** Offsets at which requests with bytes began. */
const begun: number[] = [];

beforeAll(async () => {
  session = await signIn();
  const { page } = session;
  await open(page, "Library");
  page.on("request", (request) => {
    if (request.method() === "PATCH") begun.push(Number(request.headers()["upload-offset"]));
  });
  await throttle(LINE);
});

afterAll(() => session?.browser.close());

async function throttle(uploadThroughput: number) {
  const devtools = await session.page.context().newCDPSession(session.page);
  await devtools.send("Network.enable");
  await devtools.send("Network.emulateNetworkConditions", { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput });
}

const choose = (...names: string[]) =>
  session.page.locator("input[type=file][multiple]").setInputFiles(names.map((name) => `${folder()}/${name}`));
const row = (name: string) => session.page.getByRole("list", { name: "Uploads" }).getByRole("listitem").filter({ hasText: name });
const stored = (name: string) => session.page.getByRole("list", { name: "Files" }).getByText(name, { exact: true });

test("an upload waits for a gateway that was killed, and goes on", async () => {
  const { page } = session;
  await choose("film.bin");
  await row("film.bin").getByText(/MB\/s · .* left/).waitFor({ timeout: 30_000 });
  await picture(page, "upload");
  await row("film.bin").getByText("the connection is lost, trying again").waitFor({ timeout: 30_000 });
  await picture(page, "upload-waiting");
  await row("film.bin").getByText("the connection is lost, trying again").waitFor({ state: "detached", timeout: 30_000 });
  expect(begun.at(-1)).toBeGreaterThan(0);
});

test("after a reload it goes on as soon as the file is chosen again", async () => {
  const { page } = session;
  page.once("dialog", (dialog) => void dialog.accept());
  await page.reload();
  await row("film.bin").getByText("interrupted: choose the file again").waitFor();
  await picture(page, "upload-interrupted");
  const chooser = row("film.bin").locator("input[type=file]");
  await chooser.setInputFiles(`${folder()}/other.bin`);
  await row("film.bin").getByText("This is another file: other.bin").waitFor();
  const before = begun.length;
  await throttle(-1);
  await chooser.setInputFiles(`${folder()}/film.bin`);
  await stored("film.bin").waitFor({ timeout: 30_000 });
  expect(begun[before]).toBeGreaterThan(0);
});

test("several go at once, and can be paused and cancelled", async () => {
  await throttle(LINE);
  await choose("other.bin", "third.bin");
  for (const name of ["other.bin", "third.bin"]) await row(name).getByRole("button", { name: `Pause ${name}` }).waitFor();
  await row("other.bin").getByRole("progressbar").waitFor();
  await row("other.bin").getByRole("button", { name: "Pause other.bin" }).click();
  await row("other.bin").getByText("paused").waitFor();
  await row("third.bin").getByRole("button", { name: "Cancel the upload of third.bin" }).click();
  await row("third.bin").waitFor({ state: "detached" });
  await throttle(-1);
  await row("other.bin").getByRole("button", { name: "Go on with other.bin" }).click();
  await stored("other.bin").waitFor({ timeout: 30_000 });
  expect(await stored("third.bin").count()).toBe(0);
});

test("a folder keeps its name and what is below it", async () => {
  await session.page.locator("input[webkitdirectory]").setInputFiles(`${folder()}/holiday`);
  await stored("holiday/day 1/sea.bin").waitFor({ timeout: 30_000 });
});

test("a name that is taken is refused in words", async () => {
  await choose("other/film.bin");
  await row("film.bin").getByText("other content exists in the project").waitFor();
  await picture(session.page, "upload-refused");
  await row("film.bin").getByRole("button", { name: "Dismiss film.bin" }).click();
  await row("film.bin").waitFor({ state: "detached" });
});

test("nothing was refused by the content policy, and no script failed", () => {
  expect(session.complaints.filter((text) => !text.startsWith("Failed to load resource"))).toEqual([]);
});
