import { describe, expect, test } from "vitest";
import { EventParser } from "./stream";

const all = (...pieces: string[]) => {
  const parser = new EventParser();
  return pieces.flatMap((piece) => parser.push(piece));
};

describe("EventParser", () => {
  test("reads an event with its type", () => {
    expect(all('event: board\ndata: {"a":1}\n\n')).toEqual([{ type: "board", data: '{"a":1}' }]);
  });

  test.each([
    ["lines of data are joined", "data: a\ndata: b\n\n", [{ type: "message", data: "a\nb" }]],
    ["one space after the colon is dropped", "data:a\ndata:  b\n\n", [
      { type: "message", data: "a\n b" },
    ]],
    ["comments and unknown fields say nothing", ": ping\nid: 7\nretry: 9\n\n", []],
    ["a type without data is no event", "event: board\n\n", []],
    ["the type does not outlive its event", "event: board\ndata: a\n\ndata: b\n\n", [
      { type: "board", data: "a" },
      { type: "message", data: "b" },
    ]],
    ["an event without its end is not told", "data: a\n", []],
    ["all three line ends count", "data: a\r\n\r\ndata: b\r\rdata: c\n\n", [
      { type: "message", data: "a" },
      { type: "message", data: "b" },
      { type: "message", data: "c" },
    ]],
  ])("%s", (_, text, want) => expect(all(text)).toEqual(want));

  test("does not depend on where the stream is cut", () => {
    const text = 'event: board\r\ndata: {"x":"a:b"}\r\n\r\n: c\r\ndata: 2\r\n\r\n';
    const want = all(text);
    expect(want).toHaveLength(2);
    for (let cut = 0; cut <= text.length; cut++) {
      expect(all(text.slice(0, cut), text.slice(cut))).toEqual(want);
    }
    expect(all(...text)).toEqual(want);
  });
});
