import { expect, test } from "vitest";
import { Failure } from "../api/failure";
import { read } from "./pages";

const all = Array.from({ length: 2500 }, (_, number) => `${number}`);
const self = (item: string) => item;
const from = async (max: number, after?: string) => {
  const begin = after === undefined ? 0 : all.indexOf(after) + 1;
  return all.slice(begin, begin + max);
};

test("as many items are read as are wanted, in pages that the gateway takes", async () => {
  const asked: number[] = [];
  const counted = (max: number, after?: string) => {
    asked.push(max);
    return from(max, after);
  };
  expect(await read(2400, self, counted)).toEqual({ items: all.slice(0, 2400), complete: false });
  expect(asked).toEqual([1000, 1000, 400]);
  expect(await read(Infinity, self, from)).toEqual({ items: all, complete: true });
  expect(await read(200, self, async () => [])).toEqual({ items: [], complete: true });
});

test("a list whose last read item is gone is read again from its beginning, and not for ever", async () => {
  let left = 1;
  const gone = async (max: number, after?: string) => {
    if (after !== undefined && left > 0) {
      left -= 1;
      throw new Failure(404, "there is no peer");
    }
    return from(max, after);
  };
  expect((await read(1500, self, gone)).items).toEqual(all.slice(0, 1500));
  left = 9;
  await expect(read(1500, self, gone)).rejects.toThrow();
  await expect(
    read(1500, self, async () => {
      throw new Failure(503, "busy");
    }),
  ).rejects.toThrow();
});
