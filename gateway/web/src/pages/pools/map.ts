// The squares of the map of a pool: at most 256, each an equal share of the network that is shown.
import type { PoolMap } from "../../api/types";

export interface Square {
  cidr: string;
  held: number;
  quarantined: number;
  /** Of one address: the name of who holds it. */
  name: string | null;
  isReserved: boolean;
  /** 0: free, to 5: full. */
  shade: 0 | 1 | 2 | 3 | 4 | 5;
}

const bits = (address: string) => (address.includes(":") ? 128 : 32);

/** An address as a number. */
export function numberOf(address: string): bigint {
  if (!address.includes(":")) return address.split(".").reduce((value, part) => value * 256n + BigInt(part), 0n);
  const [head = "", tail] = address.split("::");
  const parts = (text: string) => (text === "" ? [] : text.split(":"));
  const [before, after] = [parts(head), parts(tail ?? "")];
  const zeros = tail === undefined ? [] : Array<string>(8 - before.length - after.length).fill("0");
  return [...before, ...zeros, ...after].reduce((value, part) => value * 65_536n + BigInt(`0x${part}`), 0n);
}

/** A number as an address of a family; zeros are not shortened. */
export function addressOf(value: bigint, length: number): string {
  const [size, step] = length === 32 ? [4, 8n] : [8, 16n];
  const parts = Array.from({ length: size }, (_, n) => (value >> (BigInt(size - 1 - n) * step)) & ((1n << step) - 1n));
  return length === 32 ? parts.join(".") : parts.map((part) => part.toString(16)).join(":");
}

const split = (cidr: string, fallback: number): [string, number] => {
  const [address = "", length] = cidr.split("/");
  return [address, length === undefined ? fallback : Number(length)];
};

export function squares({ prefix, cellLength, cells, reservations }: PoolMap): Square[] {
  const [base, length] = split(prefix, bits(prefix));
  const width = bits(base);
  const [first, size] = [numberOf(base), 1n << BigInt(width - cellLength)];
  const known = new Map(cells.map((cell) => [numberOf(split(cell.cidr, width)[0]), cell]));
  const reserved = reservations.map((one) => ({ begin: numberOf(one.first), end: numberOf(one.last) }));
  return Array.from({ length: 2 ** (cellLength - length) }, (_, n) => {
    const begin = first + BigInt(n) * size;
    const cell = known.get(begin);
    const [held, quarantined] = [cell?.held ?? 0, cell?.quarantined ?? 0];
    const fill = (held + quarantined) / Number(size);
    return {
      cidr: `${addressOf(begin, width)}/${cellLength}`,
      held,
      quarantined,
      name: cell?.name ?? null,
      isReserved: reserved.some((one) => one.begin < begin + size && begin <= one.end),
      shade: fill === 0 ? 0 : (Math.min(5, Math.max(1, Math.ceil(fill * 5))) as Square["shade"]),
    };
  });
}
