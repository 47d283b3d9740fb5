// One application: what was asked, how it was decided, and what can be done about it.

import { lending } from "../api";
import { actsIn } from "../book";
import { currencyOfCode } from "../money";
import { useAct, useAnswer } from "../use";
import type { Application } from "../wire";
import { ContractView } from "../view/contract";
import { DecisionView } from "../view/decision";
import { Postings } from "../view/postings";
import { Replay } from "../view/replay";
import { Amount, Facts, Id, Loading, Origin, Problem } from "../view/text";
import { Section, Status, Time, Twin } from "../view/text";
import { TraceView, useTrace } from "../view/trace";

export function ApplicationPage(props: { id: string }) {
  const answer = useAnswer(() => lending.application(props.id), [props.id]);
  const application = answer.value;
  const trace = useTrace(props.id, application?.status);
  if (!application) {
    return (
      <Section title="Application" head>
        <Problem failure={answer.failure} retry={answer.reload} />
        {answer.loading && <Loading what="the application" />}
      </Section>
    );
  }
  return (
    <>
      <Summary application={application} set={answer.set} />
      <DecisionView application={application} />
      {application.loan !== "" && <ContractOf loan={application.loan} />}
      <Postings events={actsIn(trace.value?.steps ?? [])} />
      <TraceView id={application.id} trace={trace} />
    </>
  );
}

function Summary(props: { application: Application; set: (value: Application) => void }) {
  const { application } = props;
  const currency = currencyOfCode(application.currency);
  const asks = application.decision !== undefined && application.decision.outcome !== "approve";
  return (
    <Section
      title="Application" head
      aside={
        <>
          <Origin of={application.origin} /> <Status of={application.status} />
        </>
      }
    >
      <p>
        <Id id={application.id} full />
      </p>
      {application.cancelledReason !== "" && (
        <p class="late">Cancelled: {application.cancelledReason}</p>
      )}
      <Facts
        rows={[
          ["asked for", <Amount of={application.requested} in={currency} code />],
          ["over", `${application.termMonths} months`],
          ["received", <Time at={application.receivedAt} />],
          ["product", application.product],
          ["loan", <Id id={application.loan} page="loan" />],
          ["customer", <Id id={application.customer} />],
          ["trace", <Id id={application.trace} />],
          ["review", application.reviewRequested ? "asked for" : "not asked for"],
        ]}
      />
      <FormView application={application} />
      <div class="acts">
        <Replay application={application.id} />
        {(asks || application.reviewRequested) && (
          <Review application={application} set={props.set} />
        )}
      </div>
    </Section>
  );
}

function FormView(props: { application: Application }) {
  const { application } = props;
  const { form } = application;
  if (application.erased) {
    return (
      <p class="hint">
        The personal data of this application were erased. What was decided, and the proof of it,
        remain.
      </p>
    );
  }
  if (!form) return null;
  const currency = currencyOfCode(application.currency);
  return (
    <details>
      <summary>What the applicant wrote</summary>
      <Facts
        rows={[
          ["name", form.name],
          ["identity number", form.idNumber],
          ["phone", form.phone],
          ["business", form.businessName],
          ["months in business", String(form.monthsInBusiness)],
          ["people employed", String(form.employees)],
          ["turnover a month", <Amount of={form.monthlyTurnover} in={currency} code />],
          ["debts", <Amount of={form.existingDebt} in={currency} code />],
          ["amount", <Amount of={form.amount} in={currency} code />],
          ["term", `${form.termMonths} months`],
          ["used for", form.purpose],
          ["consent", form.consent ? "given" : "not given"],
        ]}
      />
    </details>
  );
}

function Review(props: { application: Application; set: (value: Application) => void }) {
  const { application } = props;
  const act = useAct(async () => props.set(await lending.requestReview(application.id)));
  if (application.reviewRequested) {
    return (
      <p class="act" role="status">
        A person was asked to look at this decision.
      </p>
    );
  }
  return (
    <div class="act">
      <button type="button" onClick={act.run} disabled={act.busy}>
        Ask a person to look at it
      </button>
      <Problem failure={act.failure} />
      <Twin command={`surety lend review ${application.id}`} />
    </div>
  );
}

function ContractOf(props: { loan: string }) {
  const answer = useAnswer(() => lending.loan(props.loan), [props.loan]);
  if (answer.failure) return <Problem failure={answer.failure} retry={answer.reload} />;
  const loan = answer.value;
  return loan?.contract ? <ContractView contract={loan.contract} currency={loan.currency} /> : null;
}
