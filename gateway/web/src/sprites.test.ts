import { expect, test } from "vitest";
import { placeAt, placesOf } from "./sprites";

const index = `WEBVTT

00:00:00.000 --> 00:00:02.080
sprites/0.jpg#xywh=0,0,160,90

00:00:02.080 --> 01:00:00.500
sprites/0.jpg?token=a.b#xywh=160,0,160,90

01:00:00.500 --> 01:00:02.500
sprites/11.jpg#xywh=0,810,160,90
`;

test("each moment of a film has the picture that stands then", () => {
  const places = placesOf(index);
  expect(places.map(({ from, sheet, x, y }) => [from, sheet, x, y])).toEqual([
    [0, 0, 0, 0],
    [2.08, 0, 160, 0],
    [3600.5, 11, 0, 810],
  ]);
  expect([-1, 0, 2.07, 2.08, 3600, 9999].map((second) => placeAt(places, second)?.from)).toEqual([0, 0, 0, 2.08, 2.08, 3600.5]);
  expect(placeAt([], 1)).toBeNull();
});

test("what is no index has no pictures", () => {
  expect(placesOf("WEBVTT\n\n00:01.000 --> 00:02.000\nHello\n")).toEqual([]);
  expect(placesOf("")).toEqual([]);
});
