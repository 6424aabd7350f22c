// The types of the gateway's JSON, generated from the document that it serves.
import openapi, { astToString } from "openapi-typescript";

const HEADER = `// Generated from /openapi.json of the gateway: NEBULA_WRITE_SURFACE=1 make test-stories T=console writes it anew.
/* eslint-disable */
`;

/** Descriptions are for readers of the document; here they would be most of the lines. */
const bare = (schemas: object): object =>
  JSON.parse(JSON.stringify(schemas, (key, value: unknown) => (["description", "format"].includes(key) && typeof value === "string" ? undefined : value))) as object;

/** The text of src/api/schema.d.ts. Paths are left out: requests are functions of src/api, and only bodies need types. */
export async function generate(document: { openapi: string; info: object; components?: object }): Promise<string> {
  const { openapi: version, info, components } = document;
  const { schemas } = (components ?? {}) as { schemas?: object };
  const nodes = await openapi({ openapi: version, info, paths: {}, components: { schemas: bare(schemas ?? {}) } } as never, { defaultNonNullable: false });
  return HEADER + astToString(nodes).replace(/^export (type|interface) (paths|webhooks|operations|\$defs) = .*\n/gm, "");
}
