// A contract: what the loan costs and when it is paid back.

import { currencyOfCode } from "../money";
import type { Contract, Instalment } from "../wire";
import { Table, type Column } from "./table";
import { Amount, Facts, Id, Section, Status } from "./text";

export function ContractView(props: { contract: Contract; currency: string }) {
  const { contract } = props;
  const currency = currencyOfCode(props.currency);
  const amount = (of: string) => <Amount of={of} in={currency} code />;
  return (
    <Section title="Contract">
      <Facts
        rows={[
          ["principal", amount(contract.principal)],
          ["APR, effective", <b class="num">{percent(contract.aprPercent)}</b>],
          ["APR, nominal (US)", <span class="num">{percent(contract.aprUsPercent)}</span>],
          ["yearly rate", <span class="num">{percent(contract.annualRatePercent)}</span>],
          ["term", `${contract.termMonths} months`],
          ["fee", amount(contract.fee)],
          ["interest in all", amount(contract.totalInterest)],
          ["total cost", amount(contract.totalCost)],
          ["to pay in all", <b>{amount(contract.totalPayable)}</b>],
          ["day count", contract.dayCount],
        ]}
      />
      <Schedule contract={contract} currency={props.currency} />
      <p class="hint">
        Digest of the contract: <Id id={contract.digest} full />
      </p>
    </Section>
  );
}

function Schedule(props: { contract: Contract; currency: string }) {
  const currency = currencyOfCode(props.currency);
  const amount = (head: "payment" | "interest" | "principal" | "balance"): Column<Instalment> => ({
    head,
    kind: "num",
    cell: (row) => <Amount of={row[head]} in={currency} />,
  });
  return (
    <Table
      label="Schedule of instalments"
      caption={`Schedule, in ${currency.code}`}
      rows={props.contract.schedule}
      keyOf={(row) => row.number}
      columns={[
        { head: "no.", kind: "num", cell: (row) => row.number },
        { head: "due", keep: true, cell: (row) => row.due },
        amount("payment"),
        amount("interest"),
        amount("principal"),
        amount("balance"),
        { head: "state", cell: (row) => row.status !== "" && <Status of={row.status} /> },
      ]}
    />
  );
}

// The service sends decimals; more than four of them are noise on a page, and are in the trace.
export function percent(text: string): string {
  const [whole = "", decimals = ""] = text.split(".");
  if (whole === "") return "\u2013";
  return decimals === "" ? `${whole} %` : `${whole}.${decimals.slice(0, 4)} %`;
}
