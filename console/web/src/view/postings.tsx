// The ledger's transfers as a table: of business events, or of one account.

import { ledger } from "../api";
import { classOf, kindWords, mayPost, transferCode, type Act } from "../book";
import { dayNumber } from "../instant";
import { currencyOfLedger } from "../money";
import { useAnswer } from "../use";
import type { Transfer } from "../wire";
import { Table } from "./table";
import { Amount, Id, Loading, Problem, Section, Time, Twin } from "./text";

/** How many of the latest events have their postings looked up: each is a call. */
const eventsMax = 60;
/** How many of those calls are under way at a time. */
const callsMax = 6;

interface Posting {
  transfer: Transfer;
  kind: string;
}

export function Postings(props: { events: readonly Act[] }) {
  const posting = props.events.filter((event) => mayPost(event.kind));
  const events = posting.slice(-eventsMax);
  const key = events.map((event) => event.id).join();
  const answer = useAnswer(() => postingsOf(events), [key], true);
  const accounts = useAnswer(
    () => classesOf(answer.value?.map((posting) => posting.transfer) ?? []),
    [answer.value],
    true,
  );
  return (
    <Section title="Postings">
      <Problem failure={answer.failure} retry={answer.reload} />
      {!answer.value && answer.loading && <Loading what="postings" />}
      {posting.length > events.length && (
        <p class="hint">
          Those of the latest {events.length} events; each account below has them all.
        </p>
      )}
      {answer.value && (
        <TransferTable
          rows={answer.value.map((posting) => ({ ...posting, note: kindWords(posting.kind) }))}
          codes={accounts.value ?? {}}
        />
      )}
      <Twin command="surety ledger lookup --event EVENT" />
    </Section>
  );
}

export function TransferTable(props: {
  rows: { transfer: Transfer; note: string }[];
  codes: Record<string, number>;
}) {
  if (props.rows.length === 0) return <p class="faint">No transfers.</p>;
  const side = (account: string) => (
    <>
      <Id id={account} page="account" />
      {props.codes[account] !== undefined && (
        <span class="under">{classOf(props.codes[account]).name}</span>
      )}
    </>
  );
  return (
    <Table
      label="Transfers"
      rows={props.rows}
      keyOf={({ transfer }) => transfer.id}
      columns={[
        { head: "date", keep: true, cell: ({ transfer }) => dayNumber(transfer.userData32) },
        { head: "posted", keep: true, cell: ({ transfer }) => <Time at={transfer.timestamp} /> },
        { head: "event and leg", cell: leg },
        { head: "debit", cell: ({ transfer }) => side(transfer.debitAccount) },
        { head: "credit", cell: ({ transfer }) => side(transfer.creditAccount) },
        {
          head: "amount",
          kind: "num",
          keep: true,
          cell: ({ transfer }) => (
            <Amount of={transfer.amount} in={currencyOfLedger(transfer.ledger)} code />
          ),
        },
        { head: "transfer", cell: ({ transfer }) => <Id id={transfer.id} /> },
      ]}
    />
  );
}

function leg({ transfer, note }: { transfer: Transfer; note: string }) {
  const flags = transfer.flags.join(" ").replace(/_/g, " ");
  return (
    <>
      {transferCode(transfer.code)}
      <span class="under">
        {note && `${note}, `}leg {transfer.userData64}
        {flags && ` \u00b7 ${flags}`}
      </span>
    </>
  );
}

async function postingsOf(events: readonly Act[]): Promise<Posting[]> {
  const found: Posting[][] = events.map(() => []);
  let next = 0;
  const work = async () => {
    for (let i = next++; i < events.length; i = next++) {
      const { id, kind } = events[i]!;
      const { transfers } = await ledger.transfersOfEvent(id);
      found[i] = transfers
        .sort((a, b) => a.userData64 - b.userData64)
        .map((transfer) => ({ transfer, kind }));
    }
  };
  await Promise.all(Array.from({ length: callsMax }, work));
  return found.flat();
}

/** The classes of the accounts that transfers touch, by the id or name they are shown under. */
export async function classesOf(transfers: Transfer[]): Promise<Record<string, number>> {
  const ids = new Set(transfers.flatMap((t) => [t.debitAccount, t.creditAccount]));
  if (ids.size === 0) return {};
  const { accounts } = await ledger.lookupAccounts([...ids]);
  const codes: Record<string, number> = {};
  for (const account of accounts) {
    codes[account.id] = account.code;
    if (account.name !== "") codes[account.name] = account.code;
  }
  return codes;
}
