// The messages of api/*/v1/*.proto as this console reads them, in Connect's JSON: names in lower
// camel case, 64-bit integers as strings, fields that are zero left out. A decoder puts the zeros
// back and refuses what has another type, so that no page has to ask whether a field is there.
// wire.test.ts holds every message here against the schema files, field by field.

export interface Decoder<T> {
  (value: unknown): T;
  kind: string; // how the schema calls it: text, count, flag, list, map, message
  fields?: Record<string, Decoder<unknown>>;
}

export type Read<D> = D extends Decoder<infer T> ? T : never;

/** An answer that is not what the schema says. */
export class Mismatch extends Error {}

function decoder<T>(kind: string, read: (value: unknown) => T): Decoder<T> {
  return Object.assign(read, { kind });
}

function mismatch(want: string, value: unknown): Mismatch {
  return new Mismatch(`want ${want}, have ${JSON.stringify(value)?.slice(0, 60)}`);
}

const absent = (value: unknown) => value === undefined || value === null;

/** string, bytes and enumerations; empty where absent. */
export const text = decoder("text", (value): string => {
  if (absent(value)) return "";
  if (typeof value !== "string") throw mismatch("text", value);
  return value;
});

/** Numbers. A 64-bit count beyond 2^53 loses its last digits; no count here comes near. */
export const count = decoder("count", (value): number => {
  if (absent(value)) return 0;
  const number = typeof value === "string" && value !== "" ? Number(value) : value;
  if (typeof number !== "number" || Number.isNaN(number)) throw mismatch("a number", value);
  return number;
});

export const flag = decoder("flag", (value): boolean => {
  if (absent(value)) return false;
  if (typeof value !== "boolean") throw mismatch("true or false", value);
  return value;
});

export function list<T>(of: Decoder<T>): Decoder<T[]> {
  return decoder("list", (value) => {
    if (absent(value)) return [];
    if (!Array.isArray(value)) throw mismatch("a list", value);
    return value.map(of);
  });
}

export const textMap = decoder("map", (value): Record<string, string> => {
  if (absent(value)) return {};
  if (typeof value !== "object" || Array.isArray(value)) throw mismatch("a map", value);
  return Object.fromEntries(Object.entries(value as object).map(([key, v]) => [key, text(v)]));
});

/** A message that may be absent, which is not the same as one full of zeros. */
export function maybe<T>(of: Decoder<T>): Decoder<T | undefined> {
  return decoder("message", (value) => (absent(value) ? undefined : of(value)));
}

export function message<F extends Record<string, Decoder<unknown>>>(
  fields: F,
): Decoder<{ [K in keyof F]: Read<F[K]> }> {
  const read = (value: unknown) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw mismatch("a message", value);
    }
    const given = value as Record<string, unknown>;
    const out: Record<string, unknown> = {};
    for (const [name, field] of Object.entries(fields)) {
      try {
        out[name] = field(given[name]);
      } catch (error) {
        throw new Mismatch(`${name}: ${(error as Error).message}`);
      }
    }
    return out as { [K in keyof F]: Read<F[K]> };
  };
  return Object.assign(decoder("message", read), { fields });
}

// surety.lending.v1

export const form = message({
  name: text,
  idNumber: text,
  phone: text,
  businessName: text,
  monthsInBusiness: count,
  monthlyTurnover: text,
  employees: count,
  existingDebt: text,
  amount: text,
  termMonths: count,
  purpose: text,
  consent: flag,
});

export const reason = message({
  code: text,
  sentence: text,
  feature: text,
  contribution: count,
  source: text,
});

export const decision = message({
  outcome: text,
  points: count,
  pdPpm: count,
  cardPdPpm: count,
  limit: text,
  offered: text,
  reasons: list(reason),
  basePoints: count,
  contributions: list(reason),
  featuresDigest: text,
  cardDigest: text,
  modelDigest: text,
  policyDigest: text,
  inputsDigest: text,
  decidedAt: text,
  micros: count,
  baseMicroLogOdds: count,
  modelMicroLogOdds: count,
});

export const application = message({
  id: text,
  trace: text,
  customer: text,
  status: text,
  origin: text,
  receivedAt: text,
  product: text,
  currency: text,
  requested: text,
  termMonths: count,
  form: maybe(form),
  erased: flag,
  decision: maybe(decision),
  loan: text,
  reviewRequested: flag,
  cancelledReason: text,
});

export const applications = message({ applications: list(application), next: text });

export const instalment = message({
  number: count,
  due: text,
  payment: text,
  interest: text,
  principal: text,
  balance: text,
  status: text,
});

export const contract = message({
  digest: text,
  principal: text,
  fee: text,
  annualRatePercent: text,
  termMonths: count,
  totalInterest: text,
  totalCost: text,
  totalPayable: text,
  aprPercent: text,
  aprUsPercent: text,
  dayCount: text,
  schedule: list(instalment),
});

export const loanEvent = message({
  seq: count,
  id: text,
  kind: text,
  at: text,
  date: text,
  amounts: textMap,
  facts: textMap,
});

export const loan = message({
  id: text,
  application: text,
  customer: text,
  product: text,
  currency: text,
  status: text,
  bucket: text,
  daysPastDue: count,
  principalOutstanding: text,
  interestDue: text,
  penaltyDue: text,
  repaid: text,
  overpaid: text,
  disbursedOn: text,
  disbursedAt: text,
  nextDue: text,
  contract: maybe(contract),
  events: list(loanEvent),
  origin: text,
});

export const loans = message({ loans: list(loan), next: text });
export const submitted = message({ application: maybe(application), loan: maybe(loan) });

export const repaid = message({
  loan: maybe(loan),
  penalty: text,
  interest: text,
  principal: text,
  overpaid: text,
  repeatedReference: flag,
});

export const payoff = message({
  amount: text,
  principal: text,
  interest: text,
  penalty: text,
  date: text,
});

export const replayed = message({
  equal: flag,
  stored: maybe(decision),
  computed: maybe(decision),
  difference: text,
});

export const product = message({
  name: text,
  currency: text,
  exponent: count,
  annualRatePercent: text,
  amountMin: text,
  amountMax: text,
  terms: list(count),
  feePermille: count,
});

export const products = message({
  products: list(product),
  businessDate: text,
  synthetic: flag,
});

// surety.ledger.v1

export const account = message({
  id: text,
  name: text,
  ledger: count,
  code: count,
  flags: list(text),
  debitsPending: text,
  debitsPosted: text,
  creditsPending: text,
  creditsPosted: text,
  userData128: text,
  userData64: count,
  userData32: count,
  timestamp: text,
  metadata: textMap,
});

export const transfer = message({
  id: text,
  debitAccount: text,
  creditAccount: text,
  amount: text,
  pendingId: text,
  userData128: text,
  userData64: count,
  userData32: count,
  timeoutSeconds: count,
  ledger: count,
  code: count,
  flags: list(text),
  timestamp: text,
});

export const balance = message({
  timestamp: text,
  debitsPending: text,
  debitsPosted: text,
  creditsPending: text,
  creditsPosted: text,
});

export const classTotal = message({
  ledger: count,
  code: count,
  accounts: count,
  debitsPending: text,
  debitsPosted: text,
  creditsPending: text,
  creditsPosted: text,
});

export const freezeState = message({
  id: text,
  scope: text,
  account: text,
  ledger: count,
  code: count,
  sides: text,
  reason: text,
  by: text,
  at: text,
  expiresAt: text,
  breach: text,
  releaseRequestedBy: text,
  releasedBy: text,
  state: text,
});

export const accounts = message({ accounts: list(account), next: text });
export const accountsFound = message({ accounts: list(account) });
export const transfers = message({ transfers: list(transfer) });
export const balances = message({ balances: list(balance) });
export const freezes = message({ freezes: list(freezeState) });

// surety.guard.v1

export const invariant = message({
  name: text,
  title: text,
  state: text,
  checkedAt: text,
  ageMillis: count,
  staleAfterMillis: count,
  checked: count,
  money: text,
  detail: text,
});

export const guardStatus = message({
  state: text,
  mode: text,
  invariants: list(invariant),
  eventsChecked: count,
  postingsChecked: count,
  openExpectations: count,
  breachesOpen: count,
  breachesTotal: count,
  lagMillis: count,
  canaryAt: text,
  canaryAgeMillis: count,
  moneyOutAllowed: flag,
  moneyOutReason: text,
});

export const breach = message({
  id: text,
  class: text,
  title: text,
  severity: text,
  rule: text,
  currency: text,
  moneyAtRisk: text,
  expected: text,
  found: text,
  firstSeen: text,
  decidableAt: text,
  detectedAt: text,
  stop: text,
  freeze: text,
  state: text,
  note: text,
  event: text,
  loan: text,
  differing: list(text),
});

export const breaches = message({ breaches: list(breach) });

// surety.evidence.v1

export const auditHead = message({
  sandbox: text,
  class: text,
  image: text,
  policy: text,
  policyDigest: text,
  mode: text,
  decidedSeq: count,
  anchored: flag,
  seq: count,
  head: text,
  index: count,
  refused: count,
  wouldRefuse: count,
});

export const released = message({
  broker: text,
  resource: text,
  record: text,
  logged: flag,
  index: count,
});

export const provedEnclave = message({
  tee: text,
  guarantee: text,
  measurement: text,
  signer: text,
  product: text,
  svn: count,
  status: text,
  policy: text,
  appraisal: text,
  verifier: text,
  startedIndex: count,
  released: list(released),
});

export const step = message({
  index: count,
  part: text,
  kind: text,
  at: text,
  trace: text,
  digest: text,
  payload: text,
  note: text,
  proved: flag,
  audit: maybe(auditHead),
  enclave: maybe(provedEnclave),
});

export const traced = message({
  id: text,
  steps: list(step),
  treeSize: count,
  checkpoint: text,
});

// surety.node.v1

export const part = message({ name: text, state: text, line: text });

export const enclave = message({
  tee: text,
  guarantee: text,
  measurement: text,
  signer: text,
  product: text,
  svn: count,
  status: text,
  line: text,
  releases: count,
  refusals: count,
});

export const sandbox = message({
  name: text,
  id: text,
  class: text,
  status: text,
  line: text,
  image: text,
  policy: text,
  policyDigest: text,
  mode: text,
  recordsPerSecond: count,
  records: count,
  refused: count,
  wouldRefuse: count,
  headSeq: count,
  head: text,
  anchoredSeq: count,
  anchoredIndex: count,
  headAgeMillis: count,
  restarts: count,
  enclave: maybe(enclave),
});

export const board = message({
  at: text,
  startedAt: text,
  businessDate: text,
  synthetic: flag,
  input: text,
  principal: text,
  parts: list(part),
  applicationsPerSecond: count,
  applications: count,
  approved: count,
  declined: count,
  referred: count,
  loansActive: count,
  loansClosed: count,
  loansWrittenOff: count,
  loansLate: count,
  decisionP50Micros: count,
  decisionP99Micros: count,
  moneyP50Micros: count,
  moneyP99Micros: count,
  totals: list(classTotal),
  guard: maybe(guardStatus),
  recent: list(application),
  logSize: count,
  currency: text,
  exponent: count,
  timeLapse: count,
  memoryBytes: count,
  rateHistory: list(count),
  openBreaches: list(breach),
  sandboxes: list(sandbox),
});

export type Form = Read<typeof form>;
export type Reason = Read<typeof reason>;
export type Decision = Read<typeof decision>;
export type Application = Read<typeof application>;
export type Instalment = Read<typeof instalment>;
export type Contract = Read<typeof contract>;
export type LoanEvent = Read<typeof loanEvent>;
export type Loan = Read<typeof loan>;
export type Product = Read<typeof product>;
export type Account = Read<typeof account>;
export type Transfer = Read<typeof transfer>;
export type Balance = Read<typeof balance>;
export type ClassTotal = Read<typeof classTotal>;
export type FreezeState = Read<typeof freezeState>;
export type Invariant = Read<typeof invariant>;
export type GuardStatus = Read<typeof guardStatus>;
export type Breach = Read<typeof breach>;
export type AuditHead = Read<typeof auditHead>;
export type Step = Read<typeof step>;
export type Traced = Read<typeof traced>;
export type ProvedEnclave = Read<typeof provedEnclave>;
export type Enclave = Read<typeof enclave>;
export type Sandbox = Read<typeof sandbox>;
export type Board = Read<typeof board>;
