// Changes of the stream, told on to the data that are about them.
import type { Change } from "../api/types";
import { outdate } from "./cache";
import { concerns } from "./concern";

export function changed(change: Change): void {
  outdate((key) => concerns(key, change));
}
