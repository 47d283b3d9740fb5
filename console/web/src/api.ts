// Calls to the node: Connect's JSON over POST, one function for each method the pages use. An
// answer is decoded by its message; everything that goes wrong leaves as a Failure, which has a
// sentence to show and the request's id to quote.

import { authorization } from "./identity";
import * as wire from "./wire";
import type { Decoder } from "./wire";

/** A call is given up after this many milliseconds: a decision takes one second at the most. */
const timeoutMillis = 20_000;

export class Failure extends Error {
  constructor(
    readonly code: string, // Connect's, or "network", "timeout", "mismatch"
    message: string,
    readonly requestId = "",
  ) {
    super(message);
  }
}

/** Calls one procedure, "part.v1.Service/Method". */
export async function call<T>(
  procedure: string,
  request: object,
  answer: Decoder<T>,
  fetcher: typeof fetch = fetch,
): Promise<T> {
  const response = await send(procedure, request, fetcher);
  const requestId = response.headers.get("X-Request-Id") ?? "";
  let body: unknown;
  try {
    body = await response.json();
  } catch {
    throw new Failure("mismatch", `The node answered ${response.status} without JSON.`, requestId);
  }
  if (!response.ok) throw refusal(response.status, body, requestId);
  try {
    return answer(body);
  } catch (error) {
    const why = (error as Error).message;
    const message = `The answer of ${procedure} is not as agreed: ${why}.`;
    throw new Failure("mismatch", message, requestId);
  }
}

async function send(procedure: string, request: object, fetcher: typeof fetch): Promise<Response> {
  try {
    return await fetcher(`/surety.${procedure}`, {
      method: "POST",
      headers: {
        "Content-Type": "application/json",
        "Connect-Protocol-Version": "1",
        ...authorization(),
      },
      body: JSON.stringify(request),
      cache: "no-store",
      signal: AbortSignal.timeout(timeoutMillis),
    });
  } catch (error) {
    if ((error as Error).name === "TimeoutError") {
      throw new Failure("timeout", `No answer within ${timeoutMillis / 1_000} seconds.`);
    }
    throw new Failure("network", "The node did not answer. Is it running?");
  }
}

// Connect says {code, message}; the plain handlers of the node say {kind, message, request_id}.
function refusal(status: number, body: unknown, requestId: string): Failure {
  const given = (typeof body === "object" && body !== null ? body : {}) as Record<string, unknown>;
  const code = [given.code, given.kind].find((value) => typeof value === "string") ?? "unknown";
  const message = typeof given.message === "string" && given.message !== "" && given.message;
  const id = typeof given.request_id === "string" ? given.request_id : requestId;
  return new Failure(code as string, message || `The node answered ${status}.`, id);
}

const lendingService = "lending.v1.LendingService/";
const ledgerService = "ledger.v1.LedgerService/";
const guardService = "guard.v1.GuardService/";
const evidenceService = "evidence.v1.EvidenceService/";

export const lending = {
  submit: (request: { idempotencyKey: string; product: string; form: Partial<wire.Form> }) =>
    call(lendingService + "Submit", request, wire.submitted),
  application: (id: string) => call(lendingService + "GetApplication", { id }, wire.application),
  applications: (request: { limit: number; before?: string; outcome?: string }) =>
    call(lendingService + "ListApplications", request, wire.applications),
  loan: (id: string) => call(lendingService + "GetLoan", { id }, wire.loan),
  loans: (request: { limit: number; before?: string; status?: string }) =>
    call(lendingService + "ListLoans", request, wire.loans),
  repay: (request: { loan: string; amount: string; reference: string }) =>
    call(lendingService + "Repay", request, wire.repaid),
  payoff: (loan: string) => call(lendingService + "Payoff", { loan }, wire.payoff),
  replay: (application: string) => call(lendingService + "Replay", { application }, wire.replayed),
  requestReview: (application: string) =>
    call(lendingService + "RequestReview", { application }, wire.application),
  products: () => call(lendingService + "Products", {}, wire.products),
};

export const ledger = {
  accounts: (request: { after?: string; limit: number }) =>
    call(ledgerService + "ListAccounts", request, wire.accounts),
  lookupAccounts: (accounts: string[]) =>
    call(ledgerService + "LookupAccounts", { accounts }, wire.accountsFound),
  transfersOf: (request: { account: string; limit: number }) =>
    call(ledgerService + "AccountTransfers", request, wire.transfers),
  balancesOf: (request: { account: string; limit: number }) =>
    call(ledgerService + "AccountBalances", request, wire.balances),
  transfersOfEvent: (event: string) =>
    call(ledgerService + "LookupTransfers", { userData128: event }, wire.transfers),
  freeze: (request: FreezeRequest) => call(ledgerService + "Freeze", request, wire.freezeState),
  requestRelease: (id: string, reason: string) =>
    call(ledgerService + "RequestRelease", { id, reason }, wire.freezeState),
  release: (id: string) => call(ledgerService + "Release", { id }, wire.freezeState),
  freezes: () => call(ledgerService + "ListFreezes", {}, wire.freezes),
};

export interface FreezeRequest {
  scope: string; // account, code (one kind of transfer), ledger
  account?: string;
  sides?: string; // of an account
  ledger?: number;
  code?: number;
  reason: string;
  expiresIn?: string; // such as 24h; absent or empty means until it is released
  breach?: string;
}

export const guard = {
  breaches: (request: { limit: number; state?: string }) =>
    call(guardService + "ListBreaches", request, wire.breaches),
  breach: (id: string) => call(guardService + "GetBreach", { id }, wire.breach),
  resolve: (request: { id: string; state: string; note: string }) =>
    call(guardService + "Resolve", request, wire.breach),
};

export const evidence = {
  trace: (id: string) => call(evidenceService + "Trace", { id }, wire.traced),
};

export const node = {
  board: () => call("node.v1.NodeService/GetBoard", {}, wire.board),
};
