// The application form: twelve fields, one button, an answer within a second.

import { useEffect, useRef, useState } from "preact/hooks";
import { lending } from "../api";
import { check, emptyDraft, indication, purposes, refusedFields, toForm } from "../form";
import type { Draft, FieldName, Problems } from "../form";
import { currencyOfCode, formatMinor } from "../money";
import { address } from "../route";
import { useAct, useAnswer } from "../use";
import type { Application, Loan, Product } from "../wire";
import { ContractView } from "../view/contract";
import { ReasonList } from "../view/decision";
import { Choice, Input, Tick } from "../view/field";
import { Amount, Id, Loading, Problem, Section, Status, Twin } from "../view/text";

interface Outcome {
  application: Application;
  loan: Loan | undefined;
}

export function ApplyPage() {
  const products = useAnswer(() => lending.products(), []);
  const [outcome, setOutcome] = useState<Outcome>();
  const all = products.value?.products ?? [];
  if (outcome) return <OutcomeView outcome={outcome} again={() => setOutcome(undefined)} />;
  return (
    <Section title="Apply for a loan" head>
      <Problem failure={products.failure} retry={products.reload} />
      {!products.value && products.loading && <Loading what="the products" />}
      {products.value && all.length === 0 && <p>There is no product to apply for.</p>}
      {all.length > 0 && <ApplyForm products={all} done={setOutcome} />}
    </Section>
  );
}

function ApplyForm(props: { products: Product[]; done: (outcome: Outcome) => void }) {
  const [name, setName] = useState(props.products[0]!.name);
  const product = props.products.find((known) => known.name === name) ?? props.products[0]!;
  const [draft, setDraft] = useState<Draft>(emptyDraft);
  const [left, setLeft] = useState<ReadonlySet<FieldName>>(new Set());
  const [refused, setRefused] = useState<Problems>({});
  const [presses, setPresses] = useState(0);
  const attempt = useRef({ body: "", key: "" });
  const element = useRef<HTMLFormElement>(null);

  const submit = useAct(async () => {
    const form = toForm(draft, product);
    // The same form goes out under the same key, so that a second press never applies twice.
    const body = JSON.stringify([product.name, form]);
    if (attempt.current.body !== body) attempt.current = { body, key: newKey() };
    const request = { idempotencyKey: attempt.current.key, product: product.name, form };
    try {
      const { application, loan } = await lending.submit(request);
      if (application) props.done({ application, loan });
    } catch (error) {
      setRefused(refusedFields((error as Error).message, product));
      throw error;
    }
  });

  const problems = check(draft, product);
  const shown: Problems = { ...refused };
  for (const field of left) if (problems[field]) shown[field] = problems[field];

  const set = (field: FieldName) => (value: string | boolean) => {
    // A browser that fills in the form sends many of these before the page is drawn again.
    setDraft((old) => ({ ...old, [field]: value }));
    setRefused({});
    submit.clear();
  };
  const text = (field: Exclude<FieldName, "consent">) => ({
    name: field,
    value: draft[field],
    onValue: set(field),
    onLeave: () => draft[field] !== "" && setLeft((old) => new Set([...old, field])),
    problem: shown[field],
  });
  const send = (event: Event) => {
    event.preventDefault();
    setLeft(new Set(Object.keys(emptyDraft) as FieldName[]));
    setPresses(presses + 1);
    if (Object.keys(problems).length === 0) submit.run();
  };
  // After a press, and after a refusal, the first field in trouble gets the focus; never else, it
  // would be taken from the field that somebody types in.
  const trouble = () =>
    element.current?.querySelector<HTMLElement>("[aria-invalid=true]")?.focus();
  useEffect(() => {
    if (presses > 0) trouble();
  }, [presses]);
  useEffect(() => {
    if (submit.failure) trouble();
  }, [submit.failure]);

  const unit = product.currency;
  const [low, high] = [product.amountMin, product.amountMax].map((bound) =>
    formatMinor(BigInt(bound || "0"), product.exponent),
  );
  return (
    <form ref={element} class="apply" noValidate onSubmit={send}>
      {props.products.length > 1 && (
        <Choice
          label="Product"
          name="product"
          value={name}
          onValue={setName}
          options={props.products.map((known) => {
            return [known.name, `${known.name}, in ${known.currency}`] as const;
          })}
        />
      )}
      <fieldset>
        <legend>You</legend>
        <Input label="Full name" complete="name" {...text("name")} />
        <Input
          label="Identity number"
          hint="As it stands on your identity document."
          {...text("idNumber")}
        />
        <Input label="Phone" mode="tel" complete="tel" {...text("phone")} />
      </fieldset>
      <fieldset>
        <legend>Your business</legend>
        <Input label="Name of the business" complete="organization" {...text("businessName")} />
        <Input label="Months in business" mode="numeric" {...text("monthsInBusiness")} />
        <Input label="People employed" mode="numeric" {...text("employees")} />
        <Input label={`Turnover a month, ${unit}`} mode="decimal" {...text("monthlyTurnover")} />
        <Input
          label={`Debts you have, ${unit}`}
          mode="decimal"
          hint="What you owe to others today; 0 where nothing."
          {...text("existingDebt")}
        />
      </fieldset>
      <fieldset>
        <legend>The loan</legend>
        <Input
          label={`Amount, ${unit}`}
          mode="decimal"
          hint={`${low} to ${high}`}
          {...text("amount")}
        />
        <Choice
          label="Paid back over"
          options={[
            ["", "choose"],
            ...product.terms.map((term) => [String(term), `${term} months`] as const),
          ]}
          {...text("termMonths")}
        />
        <Choice
          label="Used for"
          options={[["", "choose"], ...purposes.map((purpose) => [purpose, purpose] as const)]}
          {...text("purpose")}
        />
        <Indication draft={draft} product={product} />
      </fieldset>
      <Tick
        label={
          "I agree that a program decides about this application, and that what I wrote is used " +
          "for that. I can ask for a person to look at the decision."
        }
        name="consent"
        value={draft.consent}
        onValue={set("consent")}
        problem={shown.consent}
      />
      <Problem failure={submit.failure} />
      <p class="actions">
        <button type="submit" class="primary" disabled={submit.busy}>
          {submit.busy ? "Deciding…" : "Apply"}
        </button>
        <span class="hint">The answer comes within a second.</span>
      </p>
      <Twin command="surety lend submit --form FILE" />
    </form>
  );
}

function Indication(props: { draft: Draft; product: Product }) {
  const { draft, product } = props;
  const payment = indication(draft, product);
  const rate = `${product.annualRatePercent} % a year`;
  return (
    <p class="indication" aria-live="polite">
      {payment === null
        ? `Equal monthly payments; ${rate} as a rule.`
        : `At ${rate} about ${payment} ${product.currency} a month, ${draft.termMonths} times. ` +
          "The contract states rate and payments exactly."}
    </p>
  );
}

const headlines: Record<string, string> = {
  approve: "Approved",
  decline: "Declined",
  refer: "A person will look at it",
};

function OutcomeView(props: { outcome: Outcome; again: () => void }) {
  const { application, loan } = props.outcome;
  const { decision } = application;
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), []);
  const currency = currencyOfCode(application.currency);
  return (
    <div class="outcome">
      <Section title="Your application" head aside={<Status of={application.status} />}>
        <h2 class="headline" ref={heading} tabIndex={-1}>
          {headlines[decision?.outcome ?? ""] ?? "Received"}
        </h2>
        {decision?.outcome === "approve" && (
          <p>
            <Amount of={decision.offered} in={currency} code /> over{" "}
            {loan?.contract?.termMonths ?? application.termMonths} months
            {application.status === "disbursed" && "; the money is in the account"}.
          </p>
        )}
        {application.cancelledReason !== "" && <p class="late">{application.cancelledReason}</p>}
        {decision && <ReasonList reasons={decision.reasons} />}
        <p class="actions">
          {application.loan !== "" && (
            <a class="button primary" href={address("loan", application.loan)}>
              Open the loan
            </a>
          )}
          <a class="button" href={address("application", application.id)}>
            How it was decided
          </a>
          <button type="button" onClick={props.again}>
            Apply again
          </button>
        </p>
        <p class="hint">
          Application <Id id={application.id} page="application" full />
        </p>
        <Twin command={`surety trace ${application.id}`} />
      </Section>
      {loan?.contract && <ContractView contract={loan.contract} currency={loan.currency} />}
    </div>
  );
}

// 128 random bits; crypto.randomUUID is missing where the page did not come from a secure origin.
function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
