// One loan, from the application to the last posting.

import { useState } from "preact/hooks";
import { lending } from "../api";
import { actsIn, joinActs, kindWords } from "../book";
import { currencyOfCode, formatMinor, minor, parseMajor, type Currency } from "../money";
import { useAct, useAnswer } from "../use";
import type { Loan, LoanEvent } from "../wire";
import { ContractView } from "../view/contract";
import { DecisionView } from "../view/decision";
import { Input } from "../view/field";
import { Postings } from "../view/postings";
import { Replay } from "../view/replay";
import { Amount, Facts, Id, Loading, Origin, Problem } from "../view/text";
import { Section, Status, Time, Twin } from "../view/text";
import { TraceView, useTrace } from "../view/trace";
import { Arrears } from "./applications";

export function LoanPage(props: { id: string }) {
  const answer = useAnswer(() => lending.loan(props.id), [props.id]);
  const loan = answer.value;
  const trace = useTrace(props.id, loan?.events.length);
  if (!loan) {
    return (
      <Section title="Loan" head>
        <Problem failure={answer.failure} retry={answer.reload} />
        {answer.loading && <Loading what="the loan" />}
      </Section>
    );
  }
  return (
    <>
      <Summary loan={loan} reload={answer.reload} />
      <Actions loan={loan} set={answer.set} />
      <DecisionOf application={loan.application} />
      {loan.contract && <ContractView contract={loan.contract} currency={loan.currency} />}
      <Events loan={loan} />
      <Postings events={joinActs(actsIn(trace.value?.steps ?? []), loan.events)} />
      <TraceView id={loan.id} trace={trace} />
    </>
  );
}

function Summary(props: { loan: Loan; reload: () => void }) {
  const { loan } = props;
  const currency = currencyOfCode(loan.currency);
  const amount = (of: string) => <Amount of={of} in={currency} code />;
  return (
    <Section
      title="Loan" head
      aside={
        <>
          <Origin of={loan.origin} /> <Status of={loan.status} />
        </>
      }
    >
      <p>
        <Id id={loan.id} full />{" "}
        <button type="button" class="link" onClick={props.reload}>
          Refresh
        </button>
      </p>
      <Facts
        rows={[
          ["outstanding principal", <b>{amount(loan.principalOutstanding)}</b>],
          ["interest due", amount(loan.interestDue)],
          ["penalty due", amount(loan.penaltyDue)],
          ["repaid", amount(loan.repaid)],
          ["overpaid", amount(loan.overpaid)],
          ["next due", loan.nextDue || "nothing"],
          ["arrears", <Arrears loan={loan} />],
          ["disbursed on", loan.disbursedOn || "not yet"],
          ["money in account", <Time at={loan.disbursedAt} />],
          ["product", loan.product],
          ["application", <Id id={loan.application} page="application" />],
          ["customer", <Id id={loan.customer} />],
        ]}
      />
      <Twin command={`surety lend loan ${loan.id}`} />
    </Section>
  );
}

function Actions(props: { loan: Loan; set: (loan: Loan) => void }) {
  const { loan } = props;
  return (
    <Section title="Actions">
      <div class="acts">
        {loan.status === "active" && <Repay loan={loan} set={props.set} />}
        {loan.status === "active" && <Payoff loan={loan} />}
        <Replay application={loan.application} />
      </div>
    </Section>
  );
}

function Repay(props: { loan: Loan; set: (loan: Loan) => void }) {
  const { loan } = props;
  const currency = currencyOfCode(loan.currency);
  const [amount, setAmount] = useState("");
  const [reference, setReference] = useState("");
  const [pressed, setPressed] = useState(false);
  const [said, setSaid] = useState<string>();
  const parsed = parseMajor(amount, currency.exponent);
  const act = useAct(async () => {
    if (!("minor" in parsed)) return;
    const done = await lending.repay({ loan: loan.id, amount: parsed.minor, reference });
    setSaid(
      done.repeatedReference
        ? "This reference was paid before: nothing moved."
        : "Taken: " + allocation(done, currency),
    );
    setAmount("");
    setReference("");
    setPressed(false);
    if (done.loan) props.set(done.loan);
  });
  const problems = {
    amount: "problem" in parsed ? parsed.problem : parsed.minor === "0" ? "More than zero." : "",
    reference: reference.trim() === "" ? "Enter the reference of the payment." : "",
  };
  const send = (event: Event) => {
    event.preventDefault();
    setPressed(true);
    setSaid(undefined);
    if (problems.amount === "" && problems.reference === "") act.run();
  };
  return (
    <form class="act" noValidate onSubmit={send} aria-label="Repay">
      <h3>Repay</h3>
      <Input
        label={`Amount, ${currency.code}`}
        name="amount"
        mode="decimal"
        value={amount}
        onValue={setAmount}
        problem={pressed ? problems.amount : ""}
      />
      <Input
        label="Reference"
        name="reference"
        hint="Of the payment; the same one twice moves nothing twice."
        value={reference}
        onValue={setReference}
        problem={pressed ? problems.reference : ""}
      />
      <button type="submit" disabled={act.busy}>
        {act.busy ? "Paying…" : "Repay"}
      </button>
      <p class="said" role="status">
        {said}
      </p>
      <Problem failure={act.failure} />
      <Twin command={`surety lend repay ${loan.id} AMOUNT --reference REFERENCE`} />
    </form>
  );
}

function allocation(
  done: { penalty: string; interest: string; principal: string; overpaid: string },
  currency: Currency,
): string {
  const shares = (["penalty", "interest", "principal", "overpaid"] as const)
    .filter((share) => (minor(done[share]) ?? 0n) > 0n)
    .map((share) => `${share} ${written(done[share], currency)}`);
  return shares.join(", ") || "nothing";
}

function Payoff(props: { loan: Loan }) {
  const { loan } = props;
  const currency = currencyOfCode(loan.currency);
  const [quote, setQuote] = useState<Awaited<ReturnType<typeof lending.payoff>>>();
  const act = useAct(async () => setQuote(await lending.payoff(loan.id)));
  return (
    <div class="act">
      <h3>Pay off</h3>
      <button type="button" onClick={act.run} disabled={act.busy}>
        What closes it today?
      </button>
      <p role="status">
        {quote && (
          <>
            <b>
              <Amount of={quote.amount} in={currency} code />
            </b>{" "}
            on {quote.date}: principal <Amount of={quote.principal} in={currency} />, interest{" "}
            <Amount of={quote.interest} in={currency} />, penalty{" "}
            <Amount of={quote.penalty} in={currency} />
          </>
        )}
      </p>
      <Problem failure={act.failure} />
      <Twin command={`surety lend payoff ${loan.id}`} />
    </div>
  );
}

function DecisionOf(props: { application: string }) {
  const answer = useAnswer(() => lending.application(props.application), [props.application]);
  if (answer.value) return <DecisionView application={answer.value} />;
  return (
    <Section title="Decision">
      <Problem failure={answer.failure} retry={answer.reload} />
      {answer.loading && <Loading what="the decision" />}
    </Section>
  );
}

function Events(props: { loan: Loan }) {
  const currency = currencyOfCode(props.loan.currency);
  return (
    <Section title="Events">
      {props.loan.events.length === 0 && <p class="faint">No events yet.</p>}
      <ol class="timeline">
        {props.loan.events.map((event) => (
          <EventView key={event.id} event={event} currency={currency} />
        ))}
      </ol>
    </Section>
  );
}

function EventView(props: { event: LoanEvent; currency: Currency }) {
  const { event, currency } = props;
  const amounts = Object.entries(event.amounts).filter(([, amount]) => minor(amount) !== 0n);
  const facts = Object.entries(event.facts);
  return (
    <li>
      <p>
        <span class="num">{event.date}</span> <b>{kindWords(event.kind)}</b>
        {amounts.map(([name, amount]) => (
          <span key={name} class="chip">
            {name.replace(/_/g, " ")} <Amount of={amount} in={currency} />
          </span>
        ))}
      </p>
      <details>
        <summary>
          event <span class="num">{event.seq}</span>, <Id id={event.id} />, <Time at={event.at} />
        </summary>
        <Facts
          rows={[
            ["event", <Id id={event.id} full />],
            ...facts.map(([name, fact]): [string, string] => [name.replace(/_/g, " "), fact]),
          ]}
        />
      </details>
    </li>
  );
}

function written(amount: string, currency: Currency): string {
  const value = minor(amount);
  return value === null ? amount : `${formatMinor(value, currency.exponent)} ${currency.code}`;
}
