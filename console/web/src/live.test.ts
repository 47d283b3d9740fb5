import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Live } from "./live";

// A node whose connections the test opens, feeds and ends.
class Node {
  readonly connections: ReadableStreamDefaultController<Uint8Array>[] = [];
  refuse: Response | undefined;

  readonly fetch = (async (_: unknown, init?: RequestInit) => {
    if (this.refuse) return this.refuse;
    const signal = init?.signal;
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.connections.push(controller);
        signal?.addEventListener("abort", () => controller.error(signal.reason));
      },
    });
    return new Response(body);
  }) as typeof fetch;

  say(text: string): void {
    this.connections.at(-1)!.enqueue(new TextEncoder().encode(text));
  }
}

const boardEvent = (date: string) => `event: board\ndata: {"businessDate":"${date}"}\n\n`;

let clock = 0;
let node: Node;
let live: Live;

beforeEach(() => {
  vi.useFakeTimers();
  clock = 1_000;
  node = new Node();
  live = new Live(node.fetch, () => clock);
});

afterEach(() => {
  live.stop();
  vi.useRealTimers();
});

// Lets streams and promises run without any time going by.
const settle = () => vi.advanceTimersByTimeAsync(0);

describe("Live", () => {
  test("tells a board and when it was heard", async () => {
    const told = vi.fn();
    live.subscribe(told);
    live.start();
    await settle();
    expect(live.latest()).toEqual({ board: undefined, heardAt: -Infinity, problem: "" });
    node.say(boardEvent("2026-03-01"));
    await settle();
    expect(live.latest()).toMatchObject({ heardAt: 1_000, problem: "" });
    expect(live.latest().board?.businessDate).toBe("2026-03-01");
    expect(told).toHaveBeenCalledTimes(1);
  });

  test("connects again after the connection ended, and keeps what it heard", async () => {
    live.start();
    await settle();
    node.say(boardEvent("2026-03-01"));
    await settle();
    clock = 2_000;
    node.connections[0]!.close();
    await settle();
    expect(live.latest()).toMatchObject({ heardAt: 1_000, problem: "The connection ended." });
    expect(live.latest().board?.businessDate).toBe("2026-03-01");
    await vi.advanceTimersByTimeAsync(500);
    expect(node.connections).toHaveLength(2);
    node.say(boardEvent("2026-03-02"));
    await settle();
    expect(live.latest()).toMatchObject({ heardAt: 2_000, problem: "" });
  });

  test("gives up a connection that stays quiet", async () => {
    live.start();
    await settle();
    node.say(": still here\n\n");
    await vi.advanceTimersByTimeAsync(4_999);
    expect(node.connections).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(live.latest().problem).toBe("Nothing was heard.");
    await vi.advanceTimersByTimeAsync(500);
    expect(node.connections).toHaveLength(2);
  });

  test("waits longer after each failure, four seconds at the most", async () => {
    node.refuse = new Response("", { status: 503 });
    const asked = vi.spyOn(node, "fetch");
    live = new Live(asked as unknown as typeof fetch, () => clock);
    live.start();
    const at: number[] = [];
    for (let millis = 0; millis < 16_000; millis += 500) {
      const before = asked.mock.calls.length;
      await vi.advanceTimersByTimeAsync(millis === 0 ? 0 : 500);
      if (asked.mock.calls.length > before || millis === 0) at.push(millis);
    }
    expect(at).toEqual([0, 500, 1_500, 3_500, 7_500, 11_500, 15_500]);
    expect(live.latest().problem).toBe("The node answered 503.");
  });

  test("says what is wrong", async () => {
    node.refuse = new Response("", { status: 401 });
    live.start();
    await settle();
    expect(live.latest().problem).toContain("token");
    node.refuse = undefined;
    await vi.advanceTimersByTimeAsync(500);
    node.say("event: board\ndata: {\n\n");
    await settle();
    expect(live.latest().problem).toContain("not as agreed");
    await vi.advanceTimersByTimeAsync(1_000);
    node.say('event: board\ndata: {"recent":7}\n\n');
    await settle();
    expect(live.latest().problem).toContain("recent: want a list");
  });

  test("holds one connection, and none after stop", async () => {
    live.start();
    live.start();
    await settle();
    live.stop();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(node.connections).toHaveLength(2);
    expect(live.latest().problem).toBe("");
    live.start();
    await settle();
    expect(node.connections).toHaveLength(3);
  });
});
