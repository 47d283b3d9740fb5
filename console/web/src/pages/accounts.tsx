// Accounts of the ledger, and one of them with its transfers and the history of its balance.

import { useState } from "preact/hooks";
import { ledger } from "../api";
import { balanceOf, classOf, knownClasses } from "../book";
import { currencyOfLedger, minor } from "../money";
import { address } from "../route";
import { useAct, useAnswer } from "../use";
import type { Account, Balance, Transfer } from "../wire";
import { Sparkline } from "../view/chart";
import { classesOf, TransferTable } from "../view/postings";
import { Table, type Column } from "../view/table";
import { Amount, Facts, Id, Loading, Problem, Section, Time, Twin } from "../view/text";

const rowsMax = 50; // shown at a time; of one class, those of the last batch too
const batch = 500; // asked for at a time
const batchesMax = 20; // searched through for one class before the reader is asked again
const historyMax = 100;

interface Found {
  rows: Account[];
  next: string; // where the search goes on; empty at the end
  seen: number;
}

export function AccountsPage(props: { code: string }) {
  const [more, setMore] = useState<{ code: string; found: Found }>();
  const first = useAnswer(() => find(props.code, "", 0), [props.code]);
  const found = more?.code === props.code ? more.found : first.value;
  const go = useAct(async () => {
    if (!found) return;
    setMore({ code: props.code, found: await find(props.code, found.next, found.seen) });
  });
  return (
    <Section title="Accounts" head aside={<ClassChoice code={props.code} />}>
      <Problem failure={first.failure ?? go.failure} retry={first.reload} />
      {!found && first.loading && <Loading what="accounts" />}
      {found && <AccountTable accounts={found.rows} />}
      <p class="pager">
        <button type="button" disabled={!more} onClick={() => setMore(undefined)}>
          First
        </button>
        <button
          type="button"
          disabled={!found || found.next === "" || go.busy}
          onClick={() => go.run()}
        >
          Next
        </button>
        {found && <span class="hint">{found.seen} looked through</span>}
      </p>
      <Twin command="surety ledger accounts" />
    </Section>
  );
}

// The ledger lists accounts in the order of their creation and of every class; one class is picked
// out here.
async function find(code: string, after: string, seen: number): Promise<Found> {
  const rows: Account[] = [];
  let next = after;
  for (let i = 0; i < batchesMax; i++) {
    const limit = code === "" ? rowsMax : batch;
    const page = await ledger.accounts({ limit, ...(next === "" ? {} : { after: next }) });
    seen += page.accounts.length;
    rows.push(...page.accounts.filter((a) => code === "" || String(a.code) === code));
    next = page.next;
    if (next === "" || rows.length >= rowsMax) break;
  }
  return { rows, next, seen };
}

function ClassChoice(props: { code: string }) {
  return (
    <select
      aria-label="class of accounts"
      value={props.code}
      onChange={(event) => {
        location.hash = address("accounts", "", { code: event.currentTarget.value });
      }}
    >
      <option value="">every class</option>
      {knownClasses().map(([code, known]) => (
        <option key={code} value={String(code)}>
          {code} {known.name}
        </option>
      ))}
    </select>
  );
}

function accountBalance(account: Account): bigint {
  return balanceOf(account.code, {
    debitsPosted: minor(account.debitsPosted) ?? 0n,
    creditsPosted: minor(account.creditsPosted) ?? 0n,
  });
}

const accountColumns: Column<Account>[] = [
  {
    head: "account",
    cell: (account) => (
      <>
        <Id id={account.id} page="account" />
        {account.name !== "" && <span class="under">{account.name}</span>}
      </>
    ),
  },
  {
    head: "class",
    cell: (account) => (
      <>
        {classOf(account.code).name} <span class="faint num">{account.code}</span>
      </>
    ),
  },
  {
    head: "balance",
    kind: "num",
    keep: true,
    cell: (account) => (
      <b>
        <Amount of={accountBalance(account)} in={currencyOfLedger(account.ledger)} code />
      </b>
    ),
  },
  {
    head: "debits",
    kind: "num",
    cell: (account) => <Amount of={account.debitsPosted} in={currencyOfLedger(account.ledger)} />,
  },
  {
    head: "credits",
    kind: "num",
    cell: (account) => <Amount of={account.creditsPosted} in={currencyOfLedger(account.ledger)} />,
  },
  { head: "opened", keep: true, cell: (account) => <Time at={account.timestamp} /> },
];

function AccountTable(props: { accounts: Account[] }) {
  if (props.accounts.length === 0) return <p class="faint">No accounts.</p>;
  return (
    <Table
      label="Accounts"
      columns={accountColumns}
      rows={props.accounts}
      keyOf={(account) => account.id}
    />
  );
}

interface Whole {
  account: Account | undefined;
  transfers: Transfer[];
  codes: Record<string, number>;
  balances: Balance[];
}

async function read(id: string): Promise<Whole> {
  const [{ accounts }, { transfers }] = await Promise.all([
    ledger.lookupAccounts([id]),
    ledger.transfersOf({ account: id, limit: historyMax }),
  ]);
  const account = accounts[0];
  const kept = account?.flags.includes("history") ?? false;
  const [codes, { balances }] = await Promise.all([
    classesOf(transfers),
    kept ? ledger.balancesOf({ account: id, limit: historyMax }) : { balances: [] },
  ]);
  return { account, transfers, codes, balances };
}

export function AccountPage(props: { id: string }) {
  const answer = useAnswer(() => read(props.id), [props.id]);
  const { account, transfers, codes, balances } = answer.value ?? {};
  if (!account) {
    return (
      <Section title="Account" head>
        <Problem failure={answer.failure} retry={answer.reload} />
        {answer.loading && <Loading what="the account" />}
        {answer.value && <p>There is no account {props.id}.</p>}
      </Section>
    );
  }
  return (
    <>
      <AccountFacts account={account} />
      <Section
        title="Transfers"
        aside={
          <button type="button" class="link" onClick={answer.reload}>
            Refresh
          </button>
        }
      >
        <TransferTable
          rows={(transfers ?? []).map((transfer) => ({ transfer, note: "" }))}
          codes={codes ?? {}}
        />
        <p class="hint">The latest {historyMax} at the most.</p>
        <Twin command={`surety ledger history ${account.id}`} />
      </Section>
      {(balances ?? []).length > 0 && <History account={account} balances={balances ?? []} />}
    </>
  );
}

function AccountFacts(props: { account: Account }) {
  const { account } = props;
  const currency = currencyOfLedger(account.ledger);
  const amount = (of: string | bigint) => <Amount of={of} in={currency} code />;
  return (
    <Section
      title="Account" head
      aside={<a href={address("freezes", "", { account: account.id })}>freeze</a>}
    >
      <p>
        <Id id={account.id} full />
      </p>
      <Facts
        rows={[
          ["balance", <b>{amount(accountBalance(account))}</b>],
          ["class", `${account.code} ${classOf(account.code).name}`],
          ["name", account.name || "none"],
          ["debits posted", amount(account.debitsPosted)],
          ["credits posted", amount(account.creditsPosted)],
          ["debits reserved", amount(account.debitsPending)],
          ["credits reserved", amount(account.creditsPending)],
          ["rules", account.flags.join(", ").replace(/_/g, " ") || "none"],
          ["owner", <Id id={account.userData128} />],
          ["opened", <Time at={account.timestamp} />],
          ...Object.entries(account.metadata),
        ]}
      />
      <Twin command={`surety ledger lookup ${account.id}`} />
    </Section>
  );
}

function History(props: { account: Account; balances: Balance[] }) {
  const { account } = props;
  const currency = currencyOfLedger(account.ledger);
  const rows = props.balances.map((row) => ({
    at: row.timestamp,
    value: balanceOf(account.code, {
      debitsPosted: minor(row.debitsPosted) ?? 0n,
      creditsPosted: minor(row.creditsPosted) ?? 0n,
    }),
  }));
  const oldestFirst = [...rows].sort((a, b) => (a.at < b.at ? -1 : 1));
  return (
    <Section title="Balance after each transfer">
      <Sparkline values={oldestFirst.map((row) => Number(row.value))} label="balance over time" />
      <Table
        label="Balance history"
        rows={rows}
        keyOf={(row) => row.at}
        columns={[
          { head: "at", cell: (row) => <Time at={row.at} /> },
          {
            head: `balance, ${currency.code}`,
            kind: "num",
            cell: (row) => <Amount of={row.value} in={currency} />,
          },
        ]}
      />
      <Twin command={`surety ledger history ${account.id} --balances`} />
    </Section>
  );
}
