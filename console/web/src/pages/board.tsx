// The board: what this node does right now, and whether the money is right. Everything on it comes
// from one message a second; what that message says grows old here, in the open.

import { balanceOf, classOf } from "../book";
import * as fresh from "../fresh";
import { bytes, count, micros, span } from "../instant";
import { currencyOfCode, currencyOfLedger, formatMinor, minor, type Currency } from "../money";
import { address } from "../route";
import { useNews } from "../use";
import type { Board, Breach, ClassTotal, Invariant } from "../wire";
import { Sparkline } from "../view/chart";
import { ApplicationTable } from "../view/applications";
import { Sandboxes } from "../view/sandbox";
import { Table, type Column } from "../view/table";
import { Amount, Id, Loading, Pill, Section, Status, Time, Twin } from "../view/text";

export function BoardPage() {
  const { board, silence } = useNews();
  if (!board) return <Loading what="the board" />;
  return (
    <div class="board">
      <h1 class="sr">Board</h1>
      <Figures board={board} />
      {board.openBreaches.length > 0 && <OpenBreaches breaches={board.openBreaches} />}
      <GuardSection board={board} silence={silence} />
      <Sandboxes sandboxes={board.sandboxes} silence={silence} />
      <Totals totals={board.totals} silent={fresh.isSilent(silence)} />
      <Section
        title="Latest applications"
        aside={<a href={address("applications")}>all applications</a>}
      >
        <ApplicationTable applications={board.recent} />
      </Section>
      <Parts board={board} />
    </div>
  );
}

function Figures(props: { board: Board }) {
  const { board } = props;
  const outcome = (words: string, value: number, name: string) => (
    <Figure words={words} to={address("applications", "", { outcome: name })}>
      {count(value)}
    </Figure>
  );
  const loan = (words: string, value: number, status: string) => (
    <Figure words={words} to={address("loans", "", { status })}>
      {count(value)}
    </Figure>
  );
  return (
    <div class="figures">
      <a class="figure wide" href={address("applications")} aria-label="applications a second">
        <span class="words">applications / s, last 10 s</span>
        <span class="value">{board.applicationsPerSecond.toFixed(1)}</span>
        <Sparkline
          values={board.rateHistory}
          label={`applications in each of the last ${board.rateHistory.length} seconds`}
        />
      </a>
      <Figure words="applications" to={address("applications")}>
        {count(board.applications)}
      </Figure>
      {outcome("approved", board.approved, "approve")}
      {outcome("declined", board.declined, "decline")}
      {outcome("referred", board.referred, "refer")}
      {loan("loans active", board.loansActive, "active")}
      <Figure words="loans late" to={address("loans", "", { status: "active" })}>
        {count(board.loansLate)}
      </Figure>
      {loan("loans closed", board.loansClosed, "closed")}
      {loan("written off", board.loansWrittenOff, "written_off")}
      <Latency words="decision" p50={board.decisionP50Micros} p99={board.decisionP99Micros} />
      <Latency words="money in account" p50={board.moneyP50Micros} p99={board.moneyP99Micros} />
    </div>
  );
}

function Figure(props: { words: string; to: string; children: string }) {
  return (
    <a class="figure" href={props.to}>
      <span class="words">{props.words}</span>
      <span class="value">{props.children}</span>
    </a>
  );
}

function Latency(props: { words: string; p50: number; p99: number }) {
  return (
    <a class="figure double" href={address("applications")}>
      <span class="words">{props.words}, last 60 s</span>
      <span class="value">
        {micros(props.p50)} <small>p50</small>
      </span>
      <span class="value">
        {micros(props.p99)} <small>p99</small>
      </span>
    </a>
  );
}

function GuardSection(props: { board: Board; silence: number }) {
  const { board, silence } = props;
  const { guard } = board;
  const whole = fresh.showGuard(guard, silence);
  const currency = { code: board.currency, exponent: board.exponent };
  if (!guard) {
    return (
      <Section title="Guard" aside={<Pill tone={whole.tone}>{whole.word}</Pill>}>
        <p class="faint">The node says nothing of its guard.</p>
      </Section>
    );
  }
  const canary = fresh.showCanary(guard, silence);
  const out = guard.moneyOutAllowed;
  return (
    <Section title="Guard" aside={<Pill tone={whole.tone}>{whole.word}</Pill>}>
      <ul class="strip">
        <li class={`canary ${canary.tone}`}>
          <span class="pulse" key={guard.canaryAt} aria-hidden="true" />
          canary <b>{canary.word}</b>{" "}
          {guard.canaryAt !== "" && (
            <span class="num">{span(fresh.ageNow(guard.canaryAgeMillis, silence))} ago</span>
          )}
        </li>
        <li>
          money out{" "}
          <Pill tone={fresh.isSilent(silence) ? "unknown" : out ? "good" : "bad"}>
            {fresh.isSilent(silence) ? "not heard" : out ? "allowed" : "stopped"}
          </Pill>
          {guard.moneyOutReason !== "" && ` ${guard.moneyOutReason}`}
        </li>
        <li>
          mode <b>{guard.mode.replace(/_/g, " ") || "unknown"}</b>
        </li>
        <li>
          checked <b class="num">{count(guard.eventsChecked)}</b> events,{" "}
          <b class="num">{count(guard.postingsChecked)}</b> postings
        </li>
        <li>
          waiting for <b class="num">{count(guard.openExpectations)}</b>
        </li>
        <li>
          behind by <b class="num">{micros(guard.lagMillis * 1_000)}</b>
        </li>
        <li>
          <a href={address("breaches", "", { state: "open" })}>
            <b class="num">{count(guard.breachesOpen)}</b> breaches open
          </a>
          ,{" "}
          <a href={address("breaches")}>
            <b class="num">{count(guard.breachesTotal)}</b> ever
          </a>
        </li>
      </ul>
      <ul class="tiles" aria-label="invariants">
        {guard.invariants.map((invariant) => (
          <Tile key={invariant.name} {...{ invariant, silence, currency }} />
        ))}
      </ul>
      <Twin command="surety guard status" />
    </Section>
  );
}

function Tile(props: { invariant: Invariant; silence: number; currency: Currency }) {
  const { invariant, silence, currency } = props;
  const shown = fresh.showInvariant(invariant, silence);
  const age = fresh.ageNow(invariant.ageMillis, silence);
  const money = minor(invariant.money);
  return (
    <li class={`tile ${shown.tone}`} data-invariant={invariant.name} data-tone={shown.tone}>
      <p class="top">
        <b>{invariant.name.replace(/_/g, " ")}</b>
        <span class="word">{shown.word}</span>
      </p>
      <p>{invariant.title}</p>
      <p class="checked">
        <span class="num">{count(invariant.checked)}</span> records
        {money !== null && money > 0n && (
          <>
            , <span class="num">{formatMinor(money, currency.exponent)}</span> {currency.code}
          </>
        )}
        {invariant.checkedAt === "" ? (
          ", not checked yet"
        ) : (
          <>
            , checked <span class="num age">{span(age)}</span> ago
          </>
        )}
      </p>
      {invariant.detail !== "" && <p class="detail">{invariant.detail}</p>}
    </li>
  );
}

function OpenBreaches(props: { breaches: Breach[] }) {
  return (
    <Section
      title="Open breaches"
      aside={<a href={address("breaches", "", { state: "open" })}>all open</a>}
    >
      <ul class="rows">
        {props.breaches.map((breach) => (
          <li key={breach.id}>
            <Status of={breach.severity} />{" "}
            <a href={address("breach", breach.id)}>
              {breach.class} {breach.title}
            </a>{" "}
            <Amount of={breach.moneyAtRisk} in={currencyOfCode(breach.currency)} code /> at risk,
            detected <Time at={breach.detectedAt} />
          </li>
        ))}
      </ul>
    </Section>
  );
}

function Totals(props: { totals: ClassTotal[]; silent: boolean }) {
  const ledgers = [...new Set(props.totals.map((total) => total.ledger))];
  return (
    <Section title="Money by account class">
      {ledgers.length === 0 && <p class="faint">No accounts yet.</p>}
      {ledgers.map((ledger) => (
        <LedgerTotals
          key={ledger}
          currency={currencyOfLedger(ledger)}
          totals={props.totals.filter((total) => total.ledger === ledger)}
          silent={props.silent}
        />
      ))}
      <Twin command="surety ledger balances" />
    </Section>
  );
}

function LedgerTotals(props: { currency: Currency; totals: ClassTotal[]; silent: boolean }) {
  const { currency, totals } = props;
  const sum = (side: "debitsPosted" | "creditsPosted") =>
    totals.reduce((all, total) => all + (minor(total[side]) ?? 0n), 0n);
  const [debits, credits] = [sum("debitsPosted"), sum("creditsPosted")];
  const tone = debits !== credits ? "bad" : props.silent ? "unknown" : "good";
  return (
    <Table
      label={`Money by account class in ${currency.code}`}
      caption={`in ${currency.code}`}
      class="totals"
      rows={totals}
      keyOf={(total) => total.code}
      columns={totalColumns(currency)}
      foot={
        <tr>
          <th scope="row" colSpan={3}>
            <Pill tone={tone}>
              {debits === credits ? "debits equal credits" : "debits differ from credits"}
            </Pill>
          </th>
          <td class="num">{formatMinor(debits, currency.exponent)}</td>
          <td class="num">{formatMinor(credits, currency.exponent)}</td>
          <td />
        </tr>
      }
    />
  );
}

function totalColumns(currency: Currency): Column<ClassTotal>[] {
  const amount = (head: string, of: (total: ClassTotal) => bigint): Column<ClassTotal> => ({
    head,
    kind: "num",
    cell: (total) => <Amount of={of(total)} in={currency} />,
  });
  const posted = (total: ClassTotal) => ({
    debitsPosted: minor(total.debitsPosted) ?? 0n,
    creditsPosted: minor(total.creditsPosted) ?? 0n,
  });
  return [
    {
      head: "class",
      kind: "row",
      cell: (total) => (
        <>
          <a href={address("accounts", "", { code: String(total.code) })}>
            {classOf(total.code).name}
          </a>{" "}
          <span class="faint num">{total.code}</span>
        </>
      ),
    },
    { head: "accounts", kind: "num", cell: (total) => count(total.accounts) },
    amount("balance", (total) => balanceOf(total.code, posted(total))),
    amount("debits", (total) => posted(total).debitsPosted),
    amount("credits", (total) => posted(total).creditsPosted),
    {
      head: "reserved",
      kind: "num",
      cell: (total) => reserved(total) > 0n && <Amount of={reserved(total)} in={currency} />,
    },
  ];
}

// What pending transfers hold on the account's side: of the two, the one that is not zero.
function reserved(total: ClassTotal): bigint {
  const [debits, credits] = [minor(total.debitsPending) ?? 0n, minor(total.creditsPending) ?? 0n];
  return debits > credits ? debits : credits;
}


function Parts(props: { board: Board }) {
  const { board } = props;
  return (
    <Section title="Parts">
      <ul class="rows parts">
        {board.parts.map((part) => (
          <li key={part.name}>
            <b>{part.name}</b> <Status of={part.state} /> <span>{part.line}</span>
          </li>
        ))}
      </ul>
      <p class="hint">
        Fed by {board.input || "nothing"}; running since <Time at={board.startedAt} />; memory{" "}
        <span class="num">{bytes(board.memoryBytes)}</span>; evidence log{" "}
        <span class="num">{count(board.logSize)}</span> records; you are{" "}
        <Id id={board.principal} full />.
      </p>
      <Twin command="surety doctor" />
    </Section>
  );
}
