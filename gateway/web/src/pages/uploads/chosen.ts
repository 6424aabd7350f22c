// Files as they are chosen or dropped, each with the folder that it is in. Hidden files in folders are left out, as
// nebulactl does: systems write them there without being asked.

export interface Chosen {
  file: File;
  /** Names joined by slashes, below the folder that was chosen and with its name; empty for single files. */
  folder: string;
}

/** What a browser tells of something that was dropped; the types of TypeScript lack the promise forms. */
export interface Entry {
  isDirectory: boolean;
  name: string;
  file?(found: (file: File) => void, failed: (error: unknown) => void): void;
  createReader?(): { readEntries(found: (entries: Entry[]) => void, failed: (error: unknown) => void): void };
}

export interface Dropped {
  files: Chosen[];
  /** Paths of what could not be read. */
  unread: string[];
}

/** Of an input for files, or for a folder. */
export function fromInput(files: Iterable<File>): Chosen[] {
  const all = [...files].map((file) => ({ file, folder: file.webkitRelativePath.split("/").slice(0, -1).join("/") }));
  const isHidden = ({ file, folder }: Chosen) => folder !== "" && [...folder.split("/").slice(1), file.name].some((name) => name.startsWith("."));
  return all.filter((one) => !isHidden(one));
}

/** Of a drop. To be called before anything is awaited in its handler, after which a browser no longer tells. */
export async function fromDrop(items: Iterable<DataTransferItem>): Promise<Dropped> {
  const dropped: Dropped = { files: [], unread: [] };
  const roots = [...items].map((item) => {
    const entry = (item.webkitGetAsEntry?.() ?? null) as Entry | null;
    return { entry, file: entry?.isDirectory ? null : item.getAsFile() };
  });
  for (const { entry, file } of roots) {
    if (file) dropped.files.push({ file, folder: "" });
    else if (entry?.isDirectory) await walk(entry, entry.name, dropped);
  }
  return dropped;
}

async function walk(directory: Entry, folder: string, into: Dropped): Promise<void> {
  let entries: Entry[];
  try {
    entries = await all(directory);
  } catch {
    into.unread.push(folder);
    return;
  }
  for (const entry of entries.filter(({ name }) => !name.startsWith("."))) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory) await walk(entry, path, into);
    else
      await new Promise<File>((found, failed) => entry.file?.(found, failed)).then(
        (file) => into.files.push({ file, folder }),
        () => into.unread.push(path),
      );
  }
}

/** All entries of a folder, which a browser hands out a hundred at a time. */
async function all(directory: Entry): Promise<Entry[]> {
  const reader = directory.createReader?.();
  const entries: Entry[] = [];
  for (;;) {
    const some = await new Promise<Entry[]>((found, failed) => (reader ? reader.readEntries(found, failed) : found([])));
    if (!some.length) return entries.sort((one, other) => (one.name < other.name ? -1 : 1));
    entries.push(...some);
  }
}
