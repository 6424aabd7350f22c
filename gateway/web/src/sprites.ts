// The small pictures of a film to seek by: sheets, and an index that says which part of which sheet is which moment.

export interface Place {
  /** Seconds. */
  from: number;
  sheet: number;
  x: number;
  y: number;
  width: number;
  height: number;
}

const CUE = /(?:(\d+):)?(\d+):(\d+)\.(\d+) --> .*\r?\n.*?(\d+)\.jpg[^#\n]*#xywh=(\d+),(\d+),(\d+),(\d+)/g;

/** Reads the index (WebVTT with `#xywh=`), in the order of the film. */
export function placesOf(index: string): Place[] {
  return [...index.matchAll(CUE)].map(([, hours = "0", minutes, seconds, rest, sheet, x, y, width, height]) => ({
    from: Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds) + Number(`0.${rest}`),
    sheet: Number(sheet),
    x: Number(x),
    y: Number(y),
    width: Number(width),
    height: Number(height),
  }));
}

/** The picture that stands at this second. */
export function placeAt(places: Place[], second: number): Place | null {
  let [low, high] = [0, places.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((places[middle] as Place).from <= second) low = middle + 1;
    else high = middle;
  }
  return places[Math.max(0, low - 1)] ?? null;
}
