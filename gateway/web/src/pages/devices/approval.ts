// The request of a device to be let in: the address that it shows ends with its number.

/** The number of the request in the query of an address; null: there is none. */
export function requestIn(query: string): string | null {
  const number = new URLSearchParams(query).get("approve")?.trim() ?? "";
  return /^[0-9a-f]{64}$/i.test(number) ? number : null;
}
