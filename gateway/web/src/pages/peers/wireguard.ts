// Key pairs and .conf files of WireGuard. Private keys are made here and sent nowhere.

const PLACEHOLDER = "<private key>";
/** Keys that every WireGuard app takes; wg-quick would run the value of others, such as PostUp. */
const KEYS = /^(PrivateKey|Address|DNS|MTU|ListenPort|PublicKey|PresharedKey|AllowedIPs|Endpoint|PersistentKeepalive)$/i;
/** Names that every WireGuard app takes. */
const FILE_NAME = /^[a-z0-9][a-z0-9-]{0,14}\.conf$/;

export interface KeyPair {
  privateKey: string;
  publicKey: string;
}

const base64 = (bytes: Uint8Array) => btoa(String.fromCharCode(...bytes));

/** Made by a library, because browsers offer X25519 on https and localhost only. */
export async function generateKeyPair(): Promise<KeyPair> {
  const { x25519 } = await import("@noble/curves/ed25519");
  const secret = crypto.getRandomValues(new Uint8Array(32));
  // As wg genkey does, so that the key reads the same in every program.
  secret[0] = (secret[0] ?? 0) & 248;
  secret[31] = ((secret[31] ?? 0) & 127) | 64;
  return { privateKey: base64(secret), publicKey: base64(x25519.getPublicKey(secret)) };
}

/** Whether a text is a key: 32 bytes in base64. */
export const isKey = (text: string) => /^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/.test(text);

/** Puts the private key into the gateway's text, after a check of each line. */
export function fillConf(conf: string, privateKey: string): string {
  let places = 0;
  const lines = conf.trimEnd().split("\n").map((raw) => {
    const line = raw.trim();
    if (line === "" || line.startsWith("#") || line === "[Interface]" || line === "[Peer]") return line;
    const [key = "", value] = line.split(/\s*=\s*/, 2);
    if (!KEYS.test(key)) throw new Error(`The .conf has the line "${line}" and was not taken over.`);
    if (!/^PrivateKey$/i.test(key)) return line;
    if (value !== PLACEHOLDER) throw new Error("The .conf has a private key already and was not taken over.");
    places += 1;
    return `PrivateKey = ${privateKey}`;
  });
  if (places !== 1) throw new Error("The .conf has no single place for the private key.");
  return `${lines.join("\n")}\n`;
}

/** Level of error correction of the QR code; null: phones do not read codes of such a length. */
export function qrLevel(conf: string): "M" | "L" | null {
  const bytes = new TextEncoder().encode(conf).length;
  if (bytes > 1000) return null;
  return bytes > 500 ? "L" : "M";
}

export function fileName(name: string): string {
  if (!FILE_NAME.test(name)) throw new Error("The name of the .conf is not one that WireGuard takes.");
  return name;
}

/** Saves a text as a file. */
export function download(name: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type: "application/octet-stream" }));
  Object.assign(document.createElement("a"), { href: url, download: name }).click();
  URL.revokeObjectURL(url);
}
