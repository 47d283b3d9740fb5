// Applications and loans, newest first, a page at a time.

import { useState } from "preact/hooks";
import { lending } from "../api";
import { currencyOfCode } from "../money";
import { address, type Page } from "../route";
import { useAnswer } from "../use";
import type { Loan } from "../wire";
import { ApplicationTable } from "../view/applications";
import { Table, type Column } from "../view/table";
import { Amount, Id, Loading, Origin, Problem, Section, Status, Twin } from "../view/text";

const pageSize = 50;

/** The cursors of the pages gone through; the last is the one shown. */
function usePages(key: string) {
  const [state, setState] = useState({ key, cursors: [""] });
  const cursors = state.key === key ? state.cursors : [""];
  return {
    cursor: cursors[cursors.length - 1] ?? "",
    first: cursors.length === 1,
    older: (next: string) => setState({ key, cursors: [...cursors, next] }),
    newer: () => setState({ key, cursors: cursors.slice(0, -1) }),
  };
}

export function ApplicationsPage(props: { outcome: string }) {
  const pages = usePages(props.outcome);
  const answer = useAnswer(
    () => lending.applications({ limit: pageSize, before: pages.cursor, outcome: props.outcome }),
    [props.outcome, pages.cursor],
  );
  return (
    <Section
      title="Applications" head
      aside={
        <Filter
          page="applications"
          name="outcome"
          current={props.outcome}
          options={[
            ["", "all"],
            ["approve", "approved"],
            ["decline", "declined"],
            ["refer", "referred"],
          ]}
        />
      }
    >
      <Problem failure={answer.failure} retry={answer.reload} />
      {!answer.value && answer.loading && <Loading what="applications" />}
      {answer.value && <ApplicationTable applications={answer.value.applications} />}
      <Pager pages={pages} next={answer.value?.next ?? ""} reload={answer.reload} />
      <Twin
        command={`surety lend applications${props.outcome && ` --outcome ${props.outcome}`}`}
      />
    </Section>
  );
}

export function LoansPage(props: { status: string }) {
  const pages = usePages(props.status);
  const answer = useAnswer(
    () => lending.loans({ limit: pageSize, before: pages.cursor, status: props.status }),
    [props.status, pages.cursor],
  );
  return (
    <Section
      title="Loans" head
      aside={
        <Filter
          page="loans"
          name="status"
          current={props.status}
          options={[
            ["", "all"],
            ["active", "active"],
            ["closed", "closed"],
            ["written_off", "written off"],
          ]}
        />
      }
    >
      <Problem failure={answer.failure} retry={answer.reload} />
      {!answer.value && answer.loading && <Loading what="loans" />}
      {answer.value && <LoanTable loans={answer.value.loans} />}
      <Pager pages={pages} next={answer.value?.next ?? ""} reload={answer.reload} />
      <Twin command={`surety lend loans${props.status && ` --status ${props.status}`}`} />
    </Section>
  );
}

function Filter(props: {
  page: Page;
  name: string;
  current: string;
  options: [string, string][];
}) {
  return (
    <nav class="filter" aria-label={`filter by ${props.name}`}>
      {props.options.map(([value, words]) => (
        <a
          key={value}
          href={address(props.page, "", { [props.name]: value })}
          aria-current={value === props.current ? "true" : undefined}
        >
          {words}
        </a>
      ))}
    </nav>
  );
}

function Pager(props: {
  pages: ReturnType<typeof usePages>;
  next: string;
  reload: () => void;
}) {
  const { pages, next } = props;
  return (
    <p class="pager">
      <button type="button" disabled={pages.first} onClick={pages.newer}>
        Newer
      </button>
      <button type="button" disabled={next === ""} onClick={() => pages.older(next)}>
        Older
      </button>
      <button type="button" onClick={props.reload}>
        Refresh
      </button>
    </p>
  );
}

const loanColumns: Column<Loan>[] = [
  { head: "disbursed on", keep: true, cell: (loan) => loan.disbursedOn },
  { head: "loan", cell: (loan) => <Id id={loan.id} page="loan" /> },
  { head: "state", cell: (loan) => <Status of={loan.status} /> },
  { head: "arrears", keep: true, cell: (loan) => <Arrears loan={loan} /> },
  {
    head: "outstanding",
    kind: "num",
    keep: true,
    cell: (loan) => (
      <Amount of={loan.principalOutstanding} in={currencyOfCode(loan.currency)} code />
    ),
  },
  {
    head: "repaid",
    kind: "num",
    cell: (loan) => <Amount of={loan.repaid} in={currencyOfCode(loan.currency)} />,
  },
  { head: "next due", keep: true, cell: (loan) => loan.nextDue },
  { head: "origin", cell: (loan) => <Origin of={loan.origin} /> },
];

function LoanTable(props: { loans: Loan[] }) {
  if (props.loans.length === 0) return <p class="faint">No loans.</p>;
  return <Table label="Loans" columns={loanColumns} rows={props.loans} keyOf={(loan) => loan.id} />;
}

export function Arrears(props: { loan: Loan }) {
  const { bucket, daysPastDue } = props.loan;
  if (daysPastDue <= 0) return <span class="faint">{bucket || "none"}</span>;
  return (
    <span class="num late">
      {daysPastDue} days <span class="faint">({bucket})</span>
    </span>
  );
}
