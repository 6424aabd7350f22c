/** A playlist of one film (M3U). Lines that begin with `#EXTVLCOPT` are VLC's own; other players skip them. */
export function playlistFor(name: string, url: string, startsAt: number | null): string {
  // A name with a line break would add lines of its own.
  const title = name.replace(/\p{Cc}/gu, " ");
  const start = startsAt === null || startsAt <= 0 ? "" : `#EXTVLCOPT:start-time=${startsAt.toFixed(1)}\n`;
  return `#EXTM3U\n#EXTINF:-1,${title}\n${start}${url}\n`;
}
