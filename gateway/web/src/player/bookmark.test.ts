import { expect, it, vi } from "vitest";
import { keepBookmark, startOf } from "./bookmark";

it.each([
  [null, 100, 0],
  [3, 100, 0],
  [50, 100, 50],
  [97, 100, 0],
  [50, Infinity, 50],
])("a film that was left at %s of %s begins at %s", (resumeAt, duration, start) => expect(startOf(resumeAt, duration)).toBe(start));

it("the place is noted every ten seconds, at a pause and when the player closes, and never twice", () => {
  const media = Object.assign(new EventTarget(), { currentTime: 0, duration: 100, readyState: 4 });
  vi.stubGlobal("window", new EventTarget());
  const note = vi.fn();
  const close = keepBookmark(media as unknown as HTMLMediaElement, note);
  const at = (seconds: number, event: string) => {
    media.currentTime = seconds;
    media.dispatchEvent(new Event(event));
    return note.mock.calls.length;
  };
  expect(at(9, "timeupdate")).toBe(0);
  expect(at(10, "timeupdate")).toBe(1);
  expect(at(12, "timeupdate")).toBe(1);
  expect(at(12, "pause")).toBe(2);
  expect(at(12, "pause")).toBe(2);
  media.currentTime = 13;
  close();
  expect(note.mock.calls).toEqual([
    [10, 100],
    [12, 100],
    [13, 100],
  ]);
  expect(at(50, "pause")).toBe(3);
  vi.unstubAllGlobals();
});
