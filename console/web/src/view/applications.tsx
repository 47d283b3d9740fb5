// Applications as a table, on the board and on their own page.

import { micros, ppm } from "../instant";
import { currencyOfCode } from "../money";
import { address } from "../route";
import type { Application } from "../wire";
import { Table, type Column } from "./table";
import { Amount, Id, Origin, Status, Time } from "./text";

const columns: Column<Application>[] = [
  { head: "received", keep: true, cell: (a) => <Time at={a.receivedAt} /> },
  { head: "application", cell: (a) => <Id id={a.id} page="application" /> },
  { head: "outcome", cell: (a) => <Status of={a.status} /> },
  {
    head: "asked for",
    kind: "num",
    keep: true,
    cell: (a) => (
      <>
        <Amount of={a.requested} in={currencyOfCode(a.currency)} code />
        <span class="faint"> / {a.termMonths} mo</span>
      </>
    ),
  },
  {
    head: "default",
    kind: "num",
    keep: true,
    cell: (a) =>
      a.decision && <a href={address("application", a.id)}>{ppm(a.decision.pdPpm)}</a>,
  },
  {
    head: "took",
    kind: "num",
    keep: true,
    cell: (a) => a.decision && micros(a.decision.micros),
  },
  { head: "loan", cell: (a) => a.loan !== "" && <Id id={a.loan} page="loan" /> },
  { head: "origin", cell: (a) => <Origin of={a.origin} /> },
];

export function ApplicationTable(props: { applications: Application[] }) {
  if (props.applications.length === 0) return <p class="faint">No applications.</p>;
  return (
    <Table label="Applications" columns={columns} rows={props.applications} keyOf={(a) => a.id} />
  );
}
