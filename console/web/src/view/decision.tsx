// A decision, opened up: the outcome, its reasons as sentences, and the two scores as sums that the
// reader can add up himself. The sums are added here again; one that does not come out is said.

import type { Application, Decision, Reason } from "../wire";
import { currencyOfCode } from "../money";
import { count, micros, ppm } from "../instant";
import { sumOf, type Sum } from "../score";
import { Bar } from "./chart";
import { Table } from "./table";
import { Amount, Facts, Id, Pill, Section, Status, Time, Twin } from "./text";

export function DecisionView(props: { application: Application }) {
  const { decision } = props.application;
  if (!decision) {
    return (
      <Section title="Decision">
        <p class="faint">Not decided yet.</p>
      </Section>
    );
  }
  const currency = currencyOfCode(props.application.currency);
  return (
    <Section title="Decision" aside={<Status of={decision.outcome} />}>
      <Facts
        rows={[
          ["score", <span class="num">{decision.points} points</span>],
          ["default, by the model", ppm(decision.pdPpm)],
          ["default, by the card", ppm(decision.cardPdPpm)],
          ["limit", <Amount of={decision.limit} in={currency} code />],
          ["offered", <Amount of={decision.offered} in={currency} code />],
          ["decided at", <Time at={decision.decidedAt} />],
          ["took", <span class="num">{micros(decision.micros)}</span>],
        ]}
      />
      <ReasonList reasons={decision.reasons} />
      <div class="pair">
        <SumTable sum={sumOf(decision, "card")} title="Scorecard, in points" unit={points} />
        <SumTable
          sum={sumOf(decision, "model")}
          title="Boosted model, in log-odds of repaying"
          unit={logOdds}
        />
      </div>
      <Digests decision={decision} />
      <Twin command={`surety lend application ${props.application.id}`} />
    </Section>
  );
}

export function ReasonList(props: { reasons: Reason[] }) {
  if (props.reasons.length === 0) return null;
  return (
    <>
      <h3>Reasons</h3>
      <ol class="reasons">
        {props.reasons.map((reason, i) => (
          <li key={i}>
            {sentence(reason.sentence || reason.feature)} <code class="faint">{reason.code}</code>
          </li>
        ))}
      </ol>
    </>
  );
}

// The first row of a sum; no contribution has an empty source.
const baseRow: Reason = { code: "", sentence: "", feature: "base", contribution: 0, source: "" };

function SumTable(props: { sum: Sum; title: string; unit: (value: number) => string }) {
  const { sum, unit } = props;
  if (sum.terms.length === 0) return null;
  const most = Math.max(...sum.terms.map((term) => Math.abs(term.contribution)));
  return (
    <div>
      <h3>{props.title}</h3>
      <Table
        label={props.title}
        class="sum"
        rows={[{ ...baseRow, contribution: sum.base }, ...sum.terms]}
        keyOf={(term) => `${term.feature} ${term.code}`}
        columns={[
          {
            head: "what counted",
            kind: "row",
            cell: (term) => (term.feature || term.code).replace(/_/g, " "),
          },
          {
            head: "drawn",
            hidden: true,
            cell: (term) =>
              term.source !== "" && (
                <Bar value={term.contribution} most={most} />
              ),
          },
          {
            head: "adds",
            kind: "num",
            cell: (term) =>
              term.source === "" ? unit(term.contribution) : signed(term.contribution, unit),
          },
        ]}
        foot={
          <tr>
            <th scope="row">sum</th>
            <td>
              {sum.adds ? (
                <Pill tone="good">adds up to the score</Pill>
              ) : (
                <Pill tone="bad">the score says {unit(sum.stated)}</Pill>
              )}
            </td>
            <td class="num">{unit(sum.total)}</td>
          </tr>
        }
      />
      {sum.neutral > 0 && (
        <p class="hint">{count(sum.neutral)} more features added nothing either way.</p>
      )}
    </div>
  );
}

function Digests(props: { decision: Decision }) {
  const { decision } = props;
  const rows: [string, string][] = [
    ["inputs", decision.inputsDigest],
    ["features", decision.featuresDigest],
    ["card", decision.cardDigest],
    ["model", decision.modelDigest],
    ["policy", decision.policyDigest],
  ];
  return (
    <details>
      <summary>Digests of all that decided</summary>
      <Facts rows={rows.map(([name, digest]) => [name, <Id id={digest} full />])} />
    </details>
  );
}

// The service sends a sentence without its capital and its full stop.
function sentence(text: string): string {
  const [first = "", ...rest] = text;
  return first.toUpperCase() + rest.join("") + (/[.!?]$/.test(text) ? "" : ".");
}

function points(value: number): string {
  return value < 0 ? `\u2212${-value}` : `${value}`;
}

function logOdds(micro: number): string {
  const text = (Math.abs(micro) / 1_000_000).toFixed(6);
  return micro < 0 ? `\u2212${text}` : text;
}

function signed(value: number, unit: (value: number) => string): string {
  return value > 0 ? `+${unit(value)}` : unit(value);
}
