import { expect, test } from "vitest";
import { Failure } from "../../api/failure";
import { after, newAttempt } from "./attempt";

const envelope = (status: number, sqlstate: string) =>
  Failure.fromAnswer(status, JSON.stringify({ success: false, error: "e", sqlstate, detail: "no" }));

test("identifier and keys are kept unless the gateway itself refused the peer", async () => {
  const attempt = await newAttempt(null);
  const unclear = [
    Failure.unreachable(),
    Failure.from(new TypeError("the answer broke off")),
    Failure.fromAnswer(502, "<html>Bad Gateway</html>"),
    Failure.fromAnswer(504, "{}"),
    Failure.fromAnswer(408, ""),
    // The connection to the database was lost, perhaps after COMMIT.
    envelope(503, "08006"),
    envelope(500, "XX000"),
  ];
  for (const failure of unclear) expect(after(attempt, failure), `${failure.status} ${failure.detail}`).toBe(attempt);
  for (const failure of [envelope(409, "23505"), envelope(400, "22023"), envelope(503, "53000"), envelope(503, "55000")]) {
    expect(after(attempt, failure), `${failure.sqlstate}`).toBeNull();
  }
});

test("each attempt has another identifier, and a pasted key has no private one here", async () => {
  const [one, two] = [await newAttempt(null), await newAttempt("key")];
  expect(one.peerId).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(one.peerId).not.toBe(two.peerId);
  expect(two).toMatchObject({ publicKey: "key", privateKey: null });
});
