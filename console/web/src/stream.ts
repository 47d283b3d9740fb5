// Server-sent events, read from a body. The browser's own EventSource cannot send a token nor say
// why it was refused, so the wire format (HTML standard, section 9.2) is parsed here.

export interface ServerEvent {
  type: string;
  data: string;
}

/** Splits a stream of text, in pieces of any size, into the events it holds. */
export class EventParser {
  private rest = "";
  private type = "";
  private data: string[] = [];

  /** The events that text completes, in order. */
  push(text: string): ServerEvent[] {
    const events: ServerEvent[] = [];
    const lines = (this.rest + text).split(/\r\n|\n|\r(?!$)/);
    this.rest = lines.pop() ?? "";
    for (const line of lines) {
      const event = this.line(line);
      if (event) events.push(event);
    }
    return events;
  }

  private line(line: string): ServerEvent | undefined {
    if (line !== "") {
      const [, field = line, value = ""] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
      if (field === "data") this.data.push(value);
      if (field === "event") this.type = value;
      return undefined;
    }
    const event = { type: this.type || "message", data: this.data.join("\n") };
    const complete = this.data.length > 0;
    this.type = "";
    this.data = [];
    return complete ? event : undefined;
  }
}
