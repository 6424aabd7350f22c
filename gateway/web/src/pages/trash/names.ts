/** A name that no file in `taken` has: the name itself, or with a number before its extension. */
export function free(name: string, taken: string[]): string {
  const [, stem = name, extension = ""] = /^(.+?)(\.[^.]*)?$/.exec(name) ?? [];
  for (let n = 1; ; n++) {
    const tried = n === 1 ? name : `${stem} (${n})${extension}`;
    if (!taken.includes(tried)) return tried;
  }
}
