// Server-sent events, parsed by hand: EventSource cannot send an Authorization header.

export interface Message {
  /** `event:` field; `message` when there is none. */
  event: string;
  /** `data:` lines, joined by newlines. */
  data: string;
}

/** Feed it text as it arrives, cut anywhere; it answers the messages that have become complete. */
export class EventParser {
  private rest = "";
  private event = "";
  private data: string[] = [];
  private started = false;

  push(text: string): Message[] {
    const messages: Message[] = [];
    if (!this.started && text !== "") {
      this.started = true;
      text = text.replace(/^\uFEFF/, "");
    }
    this.rest += text;
    for (;;) {
      const end = this.rest.search(/[\r\n]/);
      if (end < 0) return messages;
      // A carriage return at the very end may be the first half of a line end.
      if (this.rest[end] === "\r" && end === this.rest.length - 1) return messages;
      const line = this.rest.slice(0, end);
      this.rest = this.rest.slice(this.rest.startsWith("\r\n", end) ? end + 2 : end + 1);
      const message = this.take(line);
      if (message) messages.push(message);
    }
  }

  private take(line: string): Message | null {
    if (line === "") {
      const message = { event: this.event || "message", data: this.data.join("\n") };
      const complete = this.data.length > 0;
      this.event = "";
      this.data = [];
      return complete ? message : null;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.event = value;
    else if (field === "data") this.data.push(value);
    // Comments keep the line open; id and retry are of no use to us: after a gap everything is fetched anew.
    return null;
  }
}
