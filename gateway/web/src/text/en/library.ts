import type { StoredFile } from "../../api/types";
import { count } from "../format";

export const library = {
  title: "Library",
  find: "Find in the library",
  count: (matching: number, all: number, size: string) => `${matching < all ? `${count(String(matching))} of ` : ""}${count(String(all))} ${all === 1 ? "file" : "files"}, ${size}`,
  goOn: "Go on watching",
  kind: "Kind",
  all: "All",
  kinds: { film: "Films", sound: "Sounds", picture: "Pictures", other: "Other" } as Record<StoredFile["kind"], string>,
  empty: "The library is empty",
  emptyHelp: "Drop films, music or whole folders here. They become playable everywhere in your network. From a terminal:",
  failed: (n: number) => (n === 1 ? "1 file could not be converted:" : `${n} files could not be converted:`),
  states: { waiting: "waiting", processing: "", ready: "", failed: "failed" } as Record<StoredFile["state"], string>,
  processing: (percent: string, plays: boolean) => (plays ? `${percent}, plays from the start` : percent),
  play: (name: string) => `Play ${name}`,
  why: (name: string) => `Why ${name} failed`,
  download: (name: string) => `Download ${name}`,
  remove: (name: string) => `Delete ${name}`,
  share: (name: string) => `Share ${name}`,
  facts: "What was done with it",
};
