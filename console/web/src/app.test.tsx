// @vitest-environment happy-dom
// The pages as a reader gets them, drawn into a document from answers of a node the test plays.

import { render } from "preact";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { App } from "./app";
import { setToken } from "./identity";
import { Live } from "./live";
import { LiveContext } from "./use";

type Answers = Record<string, (request: Record<string, never>) => unknown>;

const calls: { method: string; request: Record<string, unknown> }[] = [];
let answers: Answers;
let events: ReadableStreamDefaultController<Uint8Array>;
let live: Live;

class Refusal {
  constructor(readonly message: string) {}
}

const fetcher = (async (url: string, init?: RequestInit) => {
  if (url === "/events") {
    return new Response(new ReadableStream({ start: (controller) => void (events = controller) }));
  }
  const method = url.split("/").at(-1) ?? "";
  const request = JSON.parse(String(init?.body));
  calls.push({ method, request });
  const answer = answers[method]?.(request) ?? new Refusal(`no ${method} here`);
  if (!(answer instanceof Refusal)) return new Response(JSON.stringify(answer));
  const body = JSON.stringify({ code: "invalid_argument", message: answer.message });
  return new Response(body, { status: 400, headers: { "X-Request-Id": "req-1" } });
}) as unknown as typeof fetch;

beforeEach(() => {
  calls.length = 0;
  answers = {};
  vi.stubGlobal("fetch", fetcher);
  document.body.innerHTML = '<div id="console"></div>';
});

afterEach(() => {
  render(null, root());
  live.stop();
  setToken("");
  vi.unstubAllGlobals();
});

const root = () => document.getElementById("console")!;
const all = (selector: string) => [...document.querySelectorAll<HTMLElement>(selector)];
const one = (selector: string) => {
  const found = all(selector);
  if (found.length !== 1) throw new Error(`${found.length} elements are ${selector}`);
  return found[0]!;
};
const until = (condition: () => void) => vi.waitFor(condition, { timeout: 4_000, interval: 10 });
const text = () => document.body.textContent ?? "";

function open(hash: string): void {
  location.hash = hash;
  live = new Live(fetcher);
  live.start();
  render(
    <LiveContext.Provider value={live}>
      <App />
    </LiveContext.Provider>,
    root(),
  );
}

async function say(board: object): Promise<void> {
  await until(() => expect(events).toBeDefined());
  events.enqueue(new TextEncoder().encode(`event: board\ndata: ${JSON.stringify(board)}\n\n`));
}

function button(words: string): HTMLButtonElement {
  const found = all("button").find((known) => known.textContent?.trim() === words);
  if (!found) throw new Error(`no button says ${words}`);
  return found as HTMLButtonElement;
}

function type(name: string, value: string): void {
  const field = one(`[name=${name}]`) as HTMLInputElement;
  field.value = value;
  const kind = field.tagName === "SELECT" ? "change" : "input";
  field.dispatchEvent(new Event(kind, { bubbles: true }));
}

const holds = { state: "holds", checkedAt: "2026-03-01T10:00:00Z", staleAfterMillis: "60000" };
const board = {
  at: "2026-03-01T10:00:00Z",
  businessDate: "2026-03-01",
  synthetic: true,
  timeLapse: 6,
  applications: "1234567",
  approved: "900",
  currency: "CNY",
  exponent: 2,
  totals: [
    { ledger: 156, code: 200, accounts: "2", debitsPosted: "123456" },
    { ledger: 156, code: 300, accounts: "1", creditsPosted: "123456" },
  ],
  guard: {
    state: "green",
    canaryAt: "2026-03-01T10:00:00Z",
    moneyOutAllowed: true,
    invariants: [
      { name: "conservation", title: "Debits equal credits", ...holds, money: "123456" },
      { name: "limits", title: "No account is beyond its limit", ...holds },
    ],
  },
};

describe("the board", () => {
  test("shows what it hears, each number a link to its records", async () => {
    open("#/");
    await say(board);
    await until(() => expect(text()).toContain("1,234,567"));
    expect(text()).toContain("Synthetic applications.");
    expect(text()).toContain("6 business days a minute");
    expect(text()).toContain("1,234.56");
    expect(text()).toContain("debits equal credits");
    expect(all(".tile").map((tile) => tile.dataset.tone)).toEqual(["good", "good"]);
    expect(one(".health").textContent).toContain("green");
    const links = all(".figure").map((figure) => figure.getAttribute("href"));
    expect(links).toContain("#/applications?outcome=approve");
    expect(one(".totals tbody tr:first-child a").getAttribute("href")).toBe("#/accounts?code=200");
  });

  test("turns grey by silence, and says since when", async () => {
    vi.useFakeTimers();
    try {
      open("#/");
      await vi.advanceTimersByTimeAsync(0);
      await say(board);
      await vi.advanceTimersByTimeAsync(300);
      expect(all(".tile.good")).toHaveLength(2);
      await vi.advanceTimersByTimeAsync(3_300);
      expect(all(".tile").map((tile) => tile.dataset.tone)).toEqual(["unknown", "unknown"]);
      expect(all(".pill.good, .canary.good, .tile.good")).toHaveLength(0);
      expect(one(".banner.lost").textContent).toContain("Connection lost 3 s ago.");
    } finally {
      vi.useRealTimers();
    }
  });

  test("shows the sandboxes, and greys them by silence", async () => {
    vi.useFakeTimers();
    try {
      open("#/");
      await vi.advanceTimersByTimeAsync(0);
      const box = {
        name: "scorer",
        id: "surety-scorer-0196f0c2a5f07c0b9d6d1b8f2f0c9a11",
        class: "sentry",
        status: "running",
        policy: "scorer",
        mode: "enforce",
        records: "41",
        headSeq: "41",
        anchoredSeq: "40",
        anchoredIndex: "1207",
        headAgeMillis: "300",
      };
      await say({ ...board, sandboxes: [box] });
      await vi.advanceTimersByTimeAsync(300);
      const tile = one("[data-sandbox=scorer]");
      expect(tile.dataset.tone).toBe("good");
      for (const words of ["kernel of its own", "enforce", "41 records", "at leaf 1,207"]) {
        expect(tile.textContent).toContain(words);
      }
      await vi.advanceTimersByTimeAsync(3_300);
      expect(one("[data-sandbox=scorer]").dataset.tone).toBe("unknown");
      expect(all(".boxes .pill.good")).toHaveLength(0);
    } finally {
      vi.useRealTimers();
    }
  });

  test("shows what vouches for an enclave, and a simulated one never as good", async () => {
    vi.useFakeTimers();
    try {
      open("#/");
      await vi.advanceTimersByTimeAsync(0);
      const enclave = {
        tee: "sim",
        guarantee: "simulated",
        measurement: "sha384:" + "ab".repeat(48),
        product: "surety-scorer",
        svn: "1",
        status: "contraindicated",
        releases: "1",
      };
      const box = { name: "scorer", id: "s", class: "sentry", status: "running", headAgeMillis: "300" };
      await say({ ...board, sandboxes: [{ ...box, enclave }] });
      await vi.advanceTimersByTimeAsync(300);
      const tile = one("[data-sandbox=scorer]");
      for (const words of ["simulated", "surety-scorer", "contraindicated", "1 secret released"]) {
        expect(tile.textContent).toContain(words);
      }
      expect(tile.querySelectorAll(".pill.good")).toHaveLength(0);
      const snp = { ...enclave, tee: "snp", guarantee: "hardware", status: "affirming" };
      await say({ ...board, sandboxes: [{ ...box, enclave: snp }] });
      await vi.advanceTimersByTimeAsync(300);
      expect(one("[data-sandbox=scorer] .pill.good").textContent).toBe("snp");
      await vi.advanceTimersByTimeAsync(3_300);
      expect(all("[data-sandbox=scorer] .pill.good")).toHaveLength(0);
    } finally {
      vi.useRealTimers();
    }
  });

  test("shows what is broken, and the breaches", async () => {
    open("#/");
    const broken = { name: "limits", ...holds, state: "broken", detail: "by 0.01" };
    await say({
      ...board,
      guard: { ...board.guard, state: "red", moneyOutAllowed: false, invariants: [broken] },
      openBreaches: [{ id: "b1", class: "1.3", title: "paid twice", moneyAtRisk: "500" }],
    });
    await until(() => expect(one(".tile").dataset.tone).toBe("bad"));
    expect(text()).toContain("by 0.01");
    expect(text()).toContain("stopped");
    expect(all("a[href='#/breach/b1']")).toHaveLength(1);
  });
});

const product = {
  name: "micro-12",
  currency: "CNY",
  exponent: 2,
  annualRatePercent: "14.4",
  amountMin: "100000",
  amountMax: "5000000",
  terms: [6, 12],
};

const filled = {
  name: "Li Wei",
  idNumber: "A1234567",
  phone: "+8613800000000",
  businessName: "Noodles",
  monthsInBusiness: "14",
  monthlyTurnover: "45000",
  employees: "2",
  existingDebt: "0",
  amount: "12000",
  termMonths: "12",
  purpose: "stock",
};

async function fillIn(): Promise<void> {
  open("#/apply");
  await until(() => one("form.apply"));
  for (const [name, value] of Object.entries(filled)) type(name, value);
  one("[name=consent]").click();
  await until(() => expect(text()).toContain("about 1,080 CNY a month"));
}

describe("the application form", () => {
  beforeEach(() => {
    answers.Products = () => ({ products: [product] });
  });

  test("says what is wrong at each of its twelve fields", async () => {
    open("#/apply");
    await until(() => one("form.apply"));
    expect(all("form.apply [name]")).toHaveLength(12);
    button("Apply").click();
    await until(() => expect(all(".wrong")).toHaveLength(12));
    await until(() => expect(document.activeElement?.getAttribute("name")).toBe("name"));
    const field = one("[name=name]");
    expect(field.getAttribute("aria-invalid")).toBe("true");
    expect(document.getElementById(field.getAttribute("aria-describedby")!)?.textContent).toContain(
      "Enter your name",
    );
    expect(calls.map((call) => call.method)).toEqual(["Products"]);
  });

  test("is sent once under one key, and shows the decision", async () => {
    answers.Submit = () => ({
      application: {
        id: "a1",
        status: "disbursed",
        currency: "CNY",
        termMonths: 12,
        loan: "f1",
        decision: {
          outcome: "approve",
          offered: "1200000",
          reasons: [{ code: "R04", sentence: "the business is too young" }],
        },
      },
      loan: {
        id: "f1",
        currency: "CNY",
        contract: { termMonths: 6, aprPercent: "17.34", totalCost: "124140" },
      },
    });
    await fillIn();
    button("Apply").click();
    await until(() => expect(text()).toContain("12,000.00 CNY over 6 months"));
    expect(text()).toContain("The business is too young.");
    expect(text()).toContain("17.34 %");
    expect(text()).toContain("1,241.40");
    expect(all("a.primary").map((link) => link.getAttribute("href"))).toEqual(["#/loan/f1"]);
    const sent = calls.filter((call) => call.method === "Submit");
    expect(sent).toHaveLength(1);
    expect(sent[0]!.request).toMatchObject({ product: "micro-12", form: { amount: "1200000" } });
    expect(sent[0]!.request.idempotencyKey).toMatch(/^[0-9a-f]{32}$/);
  });

  test("shows a refusal at its field, and keeps the key until the form changes", async () => {
    answers.Submit = () => new Refusal("form: phone: 14 characters, want 7 to 12 digits");
    await fillIn();
    const keys = () =>
      calls.filter((call) => call.method === "Submit").map((call) => call.request.idempotencyKey);
    button("Apply").click();
    await until(() => expect(one(".wrong").textContent).toContain("Allowed: 7 to 12 digits"));
    await until(() => expect(document.activeElement?.getAttribute("name")).toBe("phone"));
    expect(one("form.apply .problem").textContent).toContain("req-1");
    button("Apply").click();
    await until(() => expect(keys()).toHaveLength(2));
    expect(keys()[0]).toBe(keys()[1]);
    await until(() => expect(button("Apply").disabled).toBe(false));
    type("phone", "+8613800000001");
    await until(() => expect(all(".wrong")).toHaveLength(0));
    button("Apply").click();
    await until(() => expect(keys()).toHaveLength(3));
    expect(keys()[2]).not.toBe(keys()[0]);
  });
});

test("what people wrote is text, never markup", async () => {
  const evil = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>';
  answers.GetApplication = () => ({
    id: evil,
    status: evil,
    currency: evil,
    form: { name: evil, businessName: evil },
    decision: { outcome: evil, reasons: [{ sentence: evil, code: evil }] },
  });
  const step = { kind: evil, payload: JSON.stringify({ evil }), note: evil };
  answers.Trace = () => ({ steps: [step] });
  open(`#/application/${encodeURIComponent(evil)}`);
  await until(() => expect(text()).toContain("What the applicant wrote"));
  await until(() => expect(text()).toContain("1 steps proved"));
  expect(text().split("window.pwned=1").length).toBeGreaterThan(8);
  expect(all("img, script")).toHaveLength(0);
  expect(all("[onerror]")).toHaveLength(0);
});

test("a breach shows both records and marks what differs", async () => {
  const account = "0a".repeat(16);
  answers.GetBreach = () => ({
    id: "b1",
    class: "1.3",
    title: "paid twice",
    state: "open",
    currency: "CNY",
    moneyAtRisk: "500",
    expected: `{"amount":"500","debit_account":"${account}"}`,
    found: `{"amount":"1000","debit_account":"${account}"}`,
    firstSeen: "2026-03-01T10:00:00Z",
    decidableAt: "2026-03-01T10:00:01Z",
    detectedAt: "2026-03-01T10:00:01.2Z",
  });
  answers.Resolve = () => ({ id: "b1", state: "false", note: "a test" });
  answers.GetBoard = () => ({ principal: "ana" });
  open("#/breach/b1");
  await until(() => expect(all("tr.differs")).toHaveLength(1));
  expect(one("tr.differs").textContent).toBe("amount differs5001000");
  expect(text()).toContain("200 ms later");
  await until(() => expect(text()).toContain("You are ana"));
  expect(all(`a[href*='account=${account}']`)).toHaveLength(1);
  button("False alarm").click();
  await until(() => expect(text()).toContain("Say why"));
  expect(calls.some((call) => call.method === "Resolve")).toBe(false);
  type("note", "a test");
  await until(() => expect(text()).not.toContain("Say why"));
  button("False alarm").click();
  await until(() => expect(calls.at(-1)?.method).toBe("Resolve"));
  expect(calls.at(-1)?.request).toEqual({ id: "b1", state: "false", note: "a test" });
});

test("a freeze needs its reason, and is released by two people", async () => {
  let state = "in_force";
  const freeze = () => ({ id: "f1", scope: "account", account: "0a", sides: "debits", state });
  answers.GetBoard = () => ({ principal: "ana" });
  answers.ListFreezes = () => ({ freezes: [freeze()] });
  answers.Freeze = freeze;
  answers.RequestRelease = () => {
    state = "release_requested";
    return freeze();
  };
  answers.Release = () => new Refusal("ledger.release: ana proposed this release");
  open("#/freezes?account=0a&breach=b1");
  await until(() => button("Request release"));
  button("Freeze").click();
  await until(() => expect(text()).toContain("Say why"));
  type("reason", "a test of the form");
  await until(() => expect(text()).not.toContain("Say why"));
  button("Freeze").click();
  await until(() => expect(calls.some((call) => call.method === "Freeze")).toBe(true));
  expect(calls.find((call) => call.method === "Freeze")?.request).toEqual({
    scope: "account",
    account: "0a",
    sides: "debits",
    reason: "a test of the form",
    expiresIn: "24h",
    breach: "b1",
  });
  type("release", "mended");
  await until(() => expect((one("[name=release]") as HTMLInputElement).value).toBe("mended"));
  button("Request release").click();
  await until(() => button("Release"));
  button("Release").click();
  await until(() => expect(text()).toContain("ana proposed this release"));
});

test("an address that names nothing says so", async () => {
  open("#/nowhere/at/all");
  await until(() => expect(text()).toContain("This address names no page."));
  answers.GetLoan = () => new Refusal("lending.loan: no loan f0");
  location.hash = "#/loan/f0";
  dispatchEvent(new Event("hashchange"));
  await until(() => expect(text()).toContain("lending.loan: no loan f0"));
  expect(text()).toContain("req-1");
});
