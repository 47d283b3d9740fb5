// Breaches: where what happened to money is not what should have, and what was done about it.

import { useState } from "preact/hooks";
import { guard, ledger } from "../api";
import { accountsIn, compare, isAccount, type Row } from "../difference";
import { between } from "../instant";
import { currencyOfCode } from "../money";
import { address } from "../route";
import { useAct, useAnswer } from "../use";
import type { Breach } from "../wire";
import { Input } from "../view/field";
import { FreezeCard } from "../view/freeze";
import { Identity } from "../view/identity";
import { Table, type Column } from "../view/table";
import { Amount, Facts, Id, Loading, Problem } from "../view/text";
import { Section, Status, Time, Twin } from "../view/text";
import { pretty } from "../view/trace";

const listMax = 200;
const states = ["", "open", "confirmed", "false", "drilled"];

export function BreachesPage(props: { state: string }) {
  const answer = useAnswer(
    () => guard.breaches({ limit: listMax, state: props.state }),
    [props.state],
  );
  return (
    <Section
      title="Breaches" head
      aside={
        <nav class="filter" aria-label="filter by state">
          {states.map((state) => (
            <a
              key={state}
              href={address("breaches", "", { state })}
              aria-current={state === props.state ? "true" : undefined}
            >
              {state || "all"}
            </a>
          ))}
        </nav>
      }
    >
      <Problem failure={answer.failure} retry={answer.reload} />
      {!answer.value && answer.loading && <Loading what="breaches" />}
      {answer.value && <BreachTable breaches={answer.value.breaches} state={props.state} />}
      <p class="pager">
        <button type="button" onClick={answer.reload}>
          Refresh
        </button>
      </p>
      <Twin command={`surety guard breaches${props.state && ` --state ${props.state}`}`} />
    </Section>
  );
}

const breachColumns: Column<Breach>[] = [
  { head: "detected", keep: true, cell: (breach) => <Time at={breach.detectedAt} /> },
  {
    head: "class",
    cell: (breach) => (
      <a href={address("breach", breach.id)}>
        <span class="num">{breach.class}</span> {breach.title}
      </a>
    ),
  },
  { head: "severity", cell: (breach) => <Status of={breach.severity} /> },
  {
    head: "at risk",
    kind: "num",
    keep: true,
    cell: (breach) => <Amount of={breach.moneyAtRisk} in={currencyOfCode(breach.currency)} code />,
  },
  { head: "stop", cell: (breach) => breach.stop || <span class="faint">none</span> },
  { head: "state", cell: (breach) => <Status of={breach.state} /> },
  { head: "loan", cell: (breach) => breach.loan !== "" && <Id id={breach.loan} page="loan" /> },
];

function BreachTable(props: { breaches: Breach[]; state: string }) {
  if (props.breaches.length === 0) return <p class="faint">No {props.state} breaches.</p>;
  return (
    <Table
      label="Breaches"
      columns={breachColumns}
      rows={props.breaches}
      keyOf={(breach) => breach.id}
    />
  );
}

export function BreachPage(props: { id: string }) {
  const answer = useAnswer(() => guard.breach(props.id), [props.id]);
  const breach = answer.value;
  if (!breach) {
    return (
      <Section title="Breach" head>
        <Problem failure={answer.failure} retry={answer.reload} />
        {answer.loading && <Loading what="the breach" />}
      </Section>
    );
  }
  const rows = compare(breach.expected, breach.found, breach.differing);
  return (
    <>
      <Summary breach={breach} />
      <Section title="Both records">
        {rows ? <Records rows={rows} /> : <RawRecords breach={breach} />}
      </Section>
      <Section title="What happened when">
        <Timeline breach={breach} />
      </Section>
      <Section title="Actions">
        <Identity />
        <div class="acts">
          {breach.state === "open" && <Resolve breach={breach} set={answer.set} />}
          {breach.freeze !== "" ? (
            <FreezeOf id={breach.freeze} />
          ) : (
            <FreezeLinks breach={breach} accounts={rows ? accountsIn(rows) : []} />
          )}
        </div>
      </Section>
    </>
  );
}

function Summary(props: { breach: Breach }) {
  const { breach } = props;
  return (
    <Section
      title={`Breach ${breach.class}`} head
      aside={
        <>
          <Status of={breach.severity} /> <Status of={breach.state} />
        </>
      }
    >
      <p class="headline">{breach.title}</p>
      <p>
        <Id id={breach.id} full />
      </p>
      <Facts
        rows={[
          [
            "money at risk",
            <b>
              <Amount of={breach.moneyAtRisk} in={currencyOfCode(breach.currency)} code />
            </b>,
          ],
          ["rule", breach.rule],
          ["stopped", breach.stop || "nothing"],
          ["loan", <Id id={breach.loan} page="loan" />],
          ["event", <Id id={breach.event} />],
          ["note", breach.note || "none"],
        ]}
      />
      <Twin command={`surety guard breach ${breach.id}`} />
    </Section>
  );
}

const recordColumns: Column<Row>[] = [
  {
    head: "field",
    kind: "row",
    cell: (row) => (
      <>
        {row.field}
        {row.differs && <span class="mark"> differs</span>}
      </>
    ),
  },
  { head: "expected", cell: (row) => <Value of={row.expected} field={row.field} /> },
  { head: "found", cell: (row) => <Value of={row.found} field={row.field} /> },
];

function Value(props: { of: string | undefined; field: string }) {
  if (props.of === undefined) return <span class="faint">absent</span>;
  if (isAccount(props.field, props.of)) return <Id id={props.of} page="account" full />;
  return <code>{props.of}</code>;
}

function Records(props: { rows: Row[] }) {
  const { rows } = props;
  if (rows.length === 0) return <p class="faint">Neither record was kept.</p>;
  return (
    <>
      {rows.every((row) => row.expected === undefined) && (
        <p class="late">Nothing of the kind was expected.</p>
      )}
      {rows.every((row) => row.found === undefined) && (
        <p class="late">Nothing of the kind was found.</p>
      )}
      <Table
        label="Both records, field by field"
        class="records"
        columns={recordColumns}
        rows={rows}
        keyOf={(row) => row.field}
        classOf={(row) => (row.differs ? "differs" : "")}
      />
    </>
  );
}

function RawRecords(props: { breach: Breach }) {
  return (
    <div class="pair">
      <div>
        <h3>Expected</h3>
        <pre>{pretty(props.breach.expected) || "nothing"}</pre>
      </div>
      <div>
        <h3>Found</h3>
        <pre>{pretty(props.breach.found) || "nothing"}</pre>
      </div>
    </div>
  );
}

function Timeline(props: { breach: Breach }) {
  const { firstSeen, decidableAt, detectedAt, stop } = props.breach;
  const rows: [string, string, string][] = [
    ["the first record was seen", firstSeen, ""],
    ["it could be decided", decidableAt, between(firstSeen, decidableAt)],
    ["it was detected", detectedAt, between(decidableAt, detectedAt)],
  ];
  return (
    <ol class="timeline">
      {rows.map(([what, at, after]) => (
        <li key={what}>
          <Time at={at} /> {what} <b class="num">{after}</b>
        </li>
      ))}
      <li>{stop === "" ? "nothing was stopped" : <>stopped: {stop}</>}</li>
    </ol>
  );
}

function Resolve(props: { breach: Breach; set: (breach: Breach) => void }) {
  const [note, setNote] = useState("");
  const [pressed, setPressed] = useState(false);
  const act = useAct(async (state: string) => {
    props.set(await guard.resolve({ id: props.breach.id, state, note: note.trim() }));
  });
  const resolve = (state: string) => () => {
    setPressed(true);
    if (note.trim() !== "") act.run(state);
  };
  return (
    <div class="act">
      <h3>Resolve</h3>
      <Input
        label="Reason"
        name="note"
        value={note}
        onValue={setNote}
        problem={pressed && note.trim() === "" ? "Say why, in a sentence." : ""}
      />
      <p class="actions">
        <button type="button" disabled={act.busy} onClick={resolve("confirmed")}>
          Confirm the loss
        </button>
        <button type="button" disabled={act.busy} onClick={resolve("false")}>
          False alarm
        </button>
      </p>
      <Problem failure={act.failure} />
      <Twin command={`surety guard breach ${props.breach.id} --resolve confirmed --note REASON`} />
    </div>
  );
}

function FreezeOf(props: { id: string }) {
  const answer = useAnswer(() => ledger.freezes(), [props.id]);
  const freeze = answer.value?.freezes.find((known) => known.id === props.id);
  return (
    <div class="act">
      <h3>Freeze</h3>
      <Problem failure={answer.failure} retry={answer.reload} />
      {freeze ? (
        <FreezeCard freeze={freeze} changed={answer.reload} />
      ) : (
        answer.value && (
          <p>
            <Id id={props.id} full /> is no longer in force.
          </p>
        )
      )}
    </div>
  );
}

function FreezeLinks(props: { breach: Breach; accounts: string[] }) {
  const link = (account: string) =>
    address("freezes", "", { breach: props.breach.id, account, reason: props.breach.title });
  return (
    <div class="act">
      <h3>Freeze</h3>
      <p>Nothing is frozen for this breach.</p>
      <ul class="rows">
        {props.accounts.map((account) => (
          <li key={account}>
            <a href={link(account)}>
              Freeze account <code>{account}</code>
            </a>
          </li>
        ))}
        <li>
          <a href={link("")}>Freeze something else</a>
        </li>
      </ul>
    </div>
  );
}
