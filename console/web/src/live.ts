// The live board. One connection to /events is kept open; when it ends, or stays quiet for longer
// than the node ever does, it is opened again, soon the first time and then ever more slowly. What
// was last heard is kept with the moment it was heard, so that a page can count its age.
//
// A browser opens six connections to one host and no more, so a page that nobody sees gives its
// own back: else the seventh tab would hear nothing, and could not even ask.

import { board, Mismatch, type Board } from "./wire";
import { EventParser } from "./stream";
import { authorization } from "./identity";

/** The node sends a board each second; a connection this quiet is dead whatever it says. */
const quietMillis = 5_000;
/** Waits before each new attempt after a failed one; the last repeats. */
const waitsMillis = [500, 1_000, 2_000, 4_000];

export interface News {
  board: Board | undefined; // the last one heard
  heardAt: number; // when, by performance.now(); -Infinity for never
  problem: string; // why nothing is heard at present; empty while connected
}

export class Live {
  private news: News = { board: undefined, heardAt: -Infinity, problem: "" };
  private readonly listeners = new Set<() => void>();
  private attempt = 0;
  private abort: AbortController | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private wanted = false;

  constructor(
    private readonly fetcher: typeof fetch = (...args) => fetch(...args),
    private readonly now: () => number = () => performance.now(),
  ) {}

  /** Connects and stays connected until stop; what is connected already connects anew. */
  start(): void {
    this.stop();
    this.wanted = true;
    this.attempt = 0;
    void this.connect();
  }

  /** Gives the connection up. What was heard stays, and grows old. */
  stop(): void {
    this.wanted = false;
    clearTimeout(this.timer);
    this.abort?.abort();
  }

  latest(): News {
    return this.news;
  }

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  private async connect(): Promise<void> {
    const abort = new AbortController();
    this.abort = abort;
    const watch = new Watch(quietMillis, () => abort.abort());
    let problem = "The connection ended.";
    try {
      problem = await this.listen(abort.signal, watch);
    } catch (error) {
      problem = abort.signal.aborted ? "Nothing was heard." : explain(error);
    } finally {
      watch.end();
    }
    // Another connection took this one's place, or nobody wants one any more.
    if (this.abort !== abort || !this.wanted) return;
    this.tell({ ...this.news, problem });
    const wait = waitsMillis[Math.min(this.attempt, waitsMillis.length - 1)];
    this.attempt++;
    this.timer = setTimeout(() => void this.connect(), wait);
  }

  // Reads events until the stream ends, and says why it did.
  private async listen(signal: AbortSignal, watch: Watch): Promise<string> {
    const response = await this.fetcher("/events", {
      headers: { Accept: "text/event-stream", ...authorization() },
      cache: "no-store",
      signal,
    });
    if (response.status === 401 || response.status === 403) {
      return "The node asks for a token: enter one on the freezes page.";
    }
    if (!response.ok || !response.body) return `The node answered ${response.status}.`;
    const parser = new EventParser();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return "The connection ended.";
      watch.heard();
      for (const event of parser.push(value)) {
        if (event.type === "board") this.hear(event.data);
      }
    }
  }

  private hear(data: string): void {
    const heard = board(JSON.parse(data));
    this.attempt = 0;
    this.tell({ board: heard, heardAt: this.now(), problem: "" });
  }

  private tell(news: News): void {
    this.news = news;
    this.listeners.forEach((listener) => listener());
  }
}

// Calls back once when nothing was heard for a while.
class Watch {
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly millis: number,
    private readonly quiet: () => void,
  ) {
    this.heard();
  }

  heard(): void {
    this.end();
    this.timer = setTimeout(this.quiet, this.millis);
  }

  end(): void {
    clearTimeout(this.timer);
  }
}

function explain(error: unknown): string {
  if (error instanceof Mismatch || error instanceof SyntaxError) {
    return `The board is not as agreed: ${error.message}.`;
  }
  return "The node does not answer.";
}
