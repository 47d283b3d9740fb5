import { afterEach, describe, expect, test } from "vitest";
import { call, Failure } from "./api";
import { setToken } from "./identity";
import { payoff } from "./wire";

const answering = (status: number, body: string, headers: Record<string, string> = {}) =>
  (async () => new Response(body, { status, headers })) as typeof fetch;

const failureOf = async (fetcher: typeof fetch): Promise<Failure> => {
  try {
    await call("lending.v1.LendingService/Payoff", { loan: "1" }, payoff, fetcher);
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  throw new Error("the call did not fail");
};

afterEach(() => setToken(""));

test("a call is Connect's JSON", async () => {
  const seen: [unknown, RequestInit | undefined][] = [];
  const fetcher = (async (url: unknown, init?: RequestInit) => {
    seen.push([url, init]);
    return new Response('{"amount":"12"}');
  }) as typeof fetch;
  const answer = await call("lending.v1.LendingService/Payoff", { loan: "1" }, payoff, fetcher);
  expect(answer.amount).toBe("12");
  const [url, init] = seen[0]!;
  expect(url).toBe("/surety.lending.v1.LendingService/Payoff");
  expect(init).toMatchObject({ method: "POST", body: '{"loan":"1"}' });
  expect(init?.headers).toEqual({
    "Content-Type": "application/json",
    "Connect-Protocol-Version": "1",
  });
});

test("a token goes along, and only what can be one", async () => {
  const sent: unknown[] = [];
  const fetcher = (async (_: unknown, init?: RequestInit) => {
    sent.push((init?.headers as Record<string, string>).Authorization);
    return new Response("{}");
  }) as typeof fetch;
  for (const token of ["abc", "a b", "a\nb", "é", ""]) {
    setToken(token);
    await call("x", {}, payoff, fetcher);
  }
  expect(sent).toEqual(["Bearer abc", undefined, undefined, undefined, undefined]);
});

describe("what goes wrong is said", () => {
  const id = { "X-Request-Id": "7f3a" };
  test.each([
    [404, '{"code":"not_found","message":"no loan 1"}', "not_found", "no loan 1", "7f3a"],
    [400, '{"kind":"invalid","message":"bad","request_id":"b2"}', "invalid", "bad", "b2"],
    [503, "{}", "unknown", "The node answered 503.", "7f3a"],
    [500, '"x"', "unknown", "The node answered 500.", "7f3a"],
    [502, "<html>", "mismatch", "The node answered 502 without JSON.", "7f3a"],
    [200, "<html>", "mismatch", "The node answered 200 without JSON.", "7f3a"],
    [200, '{"amount":7}', "mismatch", "amount: want text", "7f3a"],
    [200, "[]", "mismatch", "want a message", "7f3a"],
  ])("status %i with %s", async (status, body, code, message, requestId) => {
    const failure = await failureOf(answering(status, body, id));
    expect(failure).toMatchObject({ code, requestId });
    expect(failure.message).toContain(message);
  });

  test("no answer at all", async () => {
    const failure = await failureOf((async () => {
      throw new TypeError("fetch failed");
    }) as typeof fetch);
    expect(failure).toMatchObject({ code: "network", requestId: "" });
  });

  test("an answer that does not come", async () => {
    const failure = await failureOf((async () => {
      throw new DOMException("late", "TimeoutError");
    }) as typeof fetch);
    expect(failure.code).toBe("timeout");
  });
});
