// Freezes: what is stopped, who stopped it and why, and the form that stops something.

import { useState } from "preact/hooks";
import { ledger, type FreezeRequest } from "../api";
import { knownTransferCodes } from "../book";
import { knownCurrencies } from "../money";
import { useAct, useAnswer, useBoard } from "../use";
import { Choice, Input } from "../view/field";
import { FreezeCard } from "../view/freeze";
import { Identity } from "../view/identity";
import { Loading, Problem, Section, Twin } from "../view/text";

export function FreezesPage(props: { query: Record<string, string> }) {
  const answer = useAnswer(() => ledger.freezes(), []);
  const freezes = answer.value?.freezes ?? [];
  return (
    <>
      <Section title="Freezes in force" head>
        <Identity />
        <Problem failure={answer.failure} retry={answer.reload} />
        {!answer.value && answer.loading && <Loading what="freezes" />}
        {answer.value && freezes.length === 0 && <p class="faint">Nothing is frozen.</p>}
        <ul class="freezes">
          {freezes.map((freeze) => (
            <li key={freeze.id}>
              <FreezeCard freeze={freeze} changed={answer.reload} />
            </li>
          ))}
        </ul>
        <Twin command="surety ledger freezes" />
      </Section>
      <Section title="Freeze">
        <FreezeForm query={props.query} done={answer.reload} />
      </Section>
    </>
  );
}

const expiries = [
  ["1h", "1 hour"],
  ["24h", "24 hours"],
  ["168h", "7 days"],
  ["", "not by itself: until two people release it"],
] as const;

function FreezeForm(props: { query: Record<string, string>; done: () => void }) {
  const board = useBoard();
  const currency = knownCurrencies().find(([, known]) => known.code === board?.currency);
  const [scope, setScope] = useState("account");
  const [account, setAccount] = useState(props.query.account ?? "");
  const [code, setCode] = useState("20");
  const [chosen, setLedger] = useState("");
  const [sides, setSides] = useState("debits");
  const [reason, setReason] = useState(props.query.reason ?? "");
  const [expiresIn, setExpiresIn] = useState("24h");
  const [pressed, setPressed] = useState(false);
  const [said, setSaid] = useState("");
  const ledgerNumber = Number(chosen || currency?.[0] || 0);
  const breach = props.query.breach ?? "";
  const act = useAct(async () => {
    const request: FreezeRequest = { scope, reason: reason.trim(), expiresIn };
    if (scope === "account") Object.assign(request, { account: account.trim(), sides });
    else request.ledger = ledgerNumber;
    if (scope === "code") request.code = Number(code);
    if (breach !== "") request.breach = breach;
    const freeze = await ledger.freeze(request);
    setSaid(`Frozen: ${freeze.id}`);
    setPressed(false);
    setReason("");
    props.done();
  });
  const wrong = {
    account: scope === "account" && account.trim() === "" ? "Enter an account's id or name." : "",
    reason: reason.trim() === "" ? "Say why, in a sentence." : "",
  };
  const what = {
    account: `--account ${account.trim() || "ACCOUNT"} --sides ${sides}`,
    code: `--ledger ${ledgerNumber} --code ${code}`,
  }[scope] ?? `--ledger ${ledgerNumber}`;
  const expires = expiresIn === "" ? "" : ` --expires-in ${expiresIn}`;
  const send = (event: Event) => {
    event.preventDefault();
    setPressed(true);
    setSaid("");
    if (wrong.account === "" && wrong.reason === "") act.run();
  };
  return (
    <form class="apply" noValidate onSubmit={send}>
      <div class="grid">
        <Choice
          label="Scope"
          name="scope"
          value={scope}
          onValue={setScope}
          options={[
            ["account", "one account"],
            ["code", "one kind of transfer"],
            ["ledger", "a whole ledger"],
          ]}
        />
        {scope === "account" && (
          <Input
            label="Account"
            name="account"
            hint="Its id or its name."
            value={account}
            onValue={setAccount}
            problem={pressed ? wrong.account : ""}
          />
        )}
        {scope === "code" && (
          <Choice
            label="Transfers"
            name="code"
            value={code}
            onValue={setCode}
            options={knownTransferCodes().map(([n, w]) => [String(n), `${n} ${w}`] as const)}
          />
        )}
        {scope !== "account" && (
          <Choice
            label="Ledger"
            name="ledger"
            value={String(ledgerNumber)}
            onValue={setLedger}
            options={knownCurrencies().map(([n, c]) => [String(n), `${c.code} (${n})`] as const)}
          />
        )}
        {scope === "account" && (
          <Choice
            label="Sides"
            hint="Of a deposit, debits are what leaves it."
            name="sides"
            value={sides}
            onValue={setSides}
            options={[
              ["debits", "debits"],
              ["credits", "credits"],
              ["both", "both"],
            ]}
          />
        )}
        <Choice
          label="Expires after"
          name="expires"
          value={expiresIn}
          onValue={setExpiresIn}
          options={expiries}
        />
      </div>
      <Input
        label="Reason"
        name="reason"
        value={reason}
        onValue={setReason}
        problem={pressed ? wrong.reason : ""}
      />
      {breach !== "" && <p class="hint">For breach {breach}.</p>}
      <p class="actions">
        <button type="submit" class="primary" disabled={act.busy}>
          Freeze
        </button>
      </p>
      <p class="said" role="status">
        {said}
      </p>
      <Problem failure={act.failure} />
      <Twin command={`surety ledger freeze ${scope} ${what} --reason REASON${expires}`} />
    </form>
  );
}
