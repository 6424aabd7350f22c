import { describe, expect, it } from "vitest";
import { EventParser, type Message } from "./events";

const parse = (...pieces: string[]): Message[] => {
  const parser = new EventParser();
  return pieces.flatMap((piece) => parser.push(piece));
};

describe("EventParser", () => {
  const text = 'event: change\ndata: {"id":"1"}\n\n: keep-alive\n\nevent: reset\ndata:\n\n';
  const messages = [
    { event: "change", data: '{"id":"1"}' },
    { event: "reset", data: "" },
  ];

  it("reads events and skips comments", () => expect(parse(text)).toEqual(messages));

  it("does not care where the text is cut", () => {
    for (let cut = 0; cut <= text.length; cut++) {
      expect(parse(text.slice(0, cut), text.slice(cut)), `cut at ${cut}`).toEqual(messages);
    }
    expect(parse(...text)).toEqual(messages);
  });

  it("knows all three line ends, also when one is cut in half", () => {
    const crlf = text.replaceAll("\n", "\r\n");
    expect(parse(crlf)).toEqual(messages);
    expect(parse(...crlf)).toEqual(messages);
    expect(parse(text.replaceAll("\n", "\r"), ":")).toEqual(messages);
  });

  it("joins data lines and keeps colons in values", () => {
    expect(parse("data: a:b\ndata:  c\ndata\n\n")).toEqual([{ event: "message", data: "a:b\n c\n" }]);
  });

  it("gives nothing for an event without data, and forgets its name", () => {
    expect(parse("event: change\n\ndata: x\n\n")).toEqual([{ event: "message", data: "x" }]);
  });

  it("gives nothing for an unfinished event", () => expect(parse("data: x\n")).toEqual([]));
});
