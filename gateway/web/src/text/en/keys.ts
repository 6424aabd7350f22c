export const keys = {
  title: "Keys",
  everywhere: "On every page",
  list: [
    ["/", "Search on this page"],
    ["Ctrl K", "Search everything"],
    ["g, then a letter", "Go to a page"],
    ["n", "Add: a device, a peer"],
    ["?", "This list"],
    ["Esc", "Close what is on top"],
  ] as [string, string][],
  pages: "After g",
  player: "In the player",
  playerList: [
    ["Space, k", "Play, pause"],
    ["← →", "5 seconds back, on"],
    ["↑ ↓", "Louder, quieter"],
    ["m", "Sound off"],
    ["f", "Full screen"],
    ["c", "Subtitles"],
  ] as [string, string][],
  off: "Single letters do something",
};

export const palette = {
  title: "Search everything",
  placeholder: "Device, film, page…",
  nothing: (query: string) => `Nothing is called “${query}”.`,
  page: "page",
  device: "device",
  film: "film",
  peer: "peer",
  project: "project",
};
