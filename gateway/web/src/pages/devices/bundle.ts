// The files of a device with the private key among them.

/** Nebula's files are PEM with names of its own. */
export const pem = (name: string, base64: string) => `-----BEGIN ${name}-----\n${base64}\n-----END ${name}-----\n`;

/** The zip of the gateway with the private key beside the certificate that names its public half. */
export async function withKey(zip: Uint8Array, privateKey: string): Promise<Uint8Array> {
  // Not part of the first load.
  const { strToU8, unzipSync, zipSync } = await import("fflate");
  return zipSync({ ...unzipSync(zip), "node.key": strToU8(pem("NEBULA X25519 PRIVATE KEY", privateKey)) });
}
