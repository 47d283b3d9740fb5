// What pages hook into: the board as it arrives, a clock that ticks, the route, an answer that is
// asked for, and an act that is done once.

import { createContext } from "preact";
import { useCallback, useContext, useEffect, useRef, useState } from "preact/hooks";
import { Failure } from "./api";
import { onTokenChange } from "./identity";
import { Live, type News } from "./live";
import { parseRoute, type Route } from "./route";

export const LiveContext = createContext(new Live());

/** How often ages on the page are counted on. */
const tickMillis = 250;

/** The last board heard and how long ago that was, kept up to date while it grows old. */
export function useNews(): News & { silence: number } {
  const live = useContext(LiveContext);
  const [, redraw] = useState(0);
  useEffect(() => {
    const draw = () => redraw((n) => n + 1);
    const timer = setInterval(draw, tickMillis);
    const unsubscribe = live.subscribe(draw);
    return () => {
      clearInterval(timer);
      unsubscribe();
    };
  }, [live]);
  const news = live.latest();
  return { ...news, silence: performance.now() - news.heardAt };
}

/** The last board heard; the page is drawn again when another arrives. */
export function useBoard() {
  const live = useContext(LiveContext);
  const [board, setBoard] = useState(live.latest().board);
  useEffect(() => {
    const follow = () => setBoard(live.latest().board);
    follow();
    return live.subscribe(follow);
  }, [live]);
  return board;
}

export function useRoute(): Route {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => {
    const follow = () => setHash(location.hash);
    addEventListener("hashchange", follow);
    follow(); // it may have changed since the page was drawn
    return () => removeEventListener("hashchange", follow);
  }, []);
  return parseRoute(hash);
}

export interface Answer<T> {
  value: T | undefined; // kept while another is on its way
  failure: Failure | undefined;
  loading: boolean;
  reload: () => void;
  set: (value: T) => void;
}

/**
 * Asks when the page opens, when a key changes, and on reload. The last question wins. When a key
 * changes the old answer goes, unless keep says that it is about the same thing.
 */
export function useAnswer<T>(
  ask: () => Promise<T>,
  keys: readonly unknown[],
  keep = false,
): Answer<T> {
  const [state, setState] = useState<{ value?: T; failure?: Failure; loading: boolean }>({
    loading: true,
  });
  const question = useRef(0);
  const run = useCallback((fresh: boolean) => {
    const mine = ++question.current;
    setState((old) => (fresh ? { loading: true } : { ...old, loading: true }));
    ask().then(
      (value) => mine === question.current && setState({ value, loading: false }),
      (error: unknown) =>
        mine === question.current &&
        setState((old) => ({ ...old, failure: asFailure(error), loading: false })),
    );
  }, keys);
  useEffect(() => run(!keep), [run]);
  useEffect(() => onTokenChange(() => run(false)), [run]);
  useEffect(() => () => void question.current++, []);
  return {
    value: state.value,
    failure: state.failure,
    loading: state.loading,
    reload: () => run(false),
    set: (value) => {
      question.current++;
      setState({ value, loading: false });
    },
  };
}

export interface Act<A extends unknown[]> {
  run: (...args: A) => void;
  busy: boolean;
  failure: Failure | undefined;
  clear: () => void;
}

/** Something a person does: runs once at a time, and keeps what went wrong. */
export function useAct<A extends unknown[]>(act: (...args: A) => Promise<void>): Act<A> {
  const [state, setState] = useState<{ busy: boolean; failure?: Failure }>({ busy: false });
  const busy = useRef(false);
  const run = (...args: A) => {
    if (busy.current) return;
    busy.current = true;
    setState({ busy: true });
    act(...args)
      .then(
        () => setState({ busy: false }),
        (error: unknown) => setState({ busy: false, failure: asFailure(error) }),
      )
      .finally(() => {
        busy.current = false;
      });
  };
  return { run, busy: state.busy, failure: state.failure, clear: () => setState({ busy: false }) };
}

function asFailure(error: unknown): Failure {
  if (error instanceof Failure) return error;
  return new Failure("defect", `The page failed: ${(error as Error).message}`);
}
