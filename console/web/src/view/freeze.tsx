// One freeze, and the two steps by which two people end it.

import { useState } from "preact/hooks";
import { ledger } from "../api";
import { transferCode } from "../book";
import { currencyOfLedger } from "../money";
import { useAct } from "../use";
import type { FreezeState } from "../wire";
import { Input } from "./field";
import { Facts, Id, Problem, Status, Time, Twin } from "./text";

export function scopeOf(freeze: FreezeState) {
  if (freeze.scope === "account") return <Id id={freeze.account} page="account" />;
  const ledgerName = freeze.ledger > 0 ? currencyOfLedger(freeze.ledger).code : "every ledger";
  if (freeze.scope === "code") {
    return (
      <>
        transfers of code <span class="num">{freeze.code}</span> ({transferCode(freeze.code)}),{" "}
        {ledgerName}
      </>
    );
  }
  return <>all of {ledgerName}</>;
}

export function FreezeCard(props: { freeze: FreezeState; changed: () => void }) {
  const { freeze } = props;
  const [reason, setReason] = useState("");
  const [pressed, setPressed] = useState(false);
  const ask = useAct(async () => {
    await ledger.requestRelease(freeze.id, reason.trim());
    props.changed();
  });
  const release = useAct(async () => {
    await ledger.release(freeze.id);
    props.changed();
  });
  const send = (event: Event) => {
    event.preventDefault();
    setPressed(true);
    if (reason.trim() !== "") ask.run();
  };
  return (
    <div class="freeze">
      <p>
        <Status of={freeze.state} /> {scopeOf(freeze)}
        {freeze.sides !== "" && (
          <>
            , <b>{freeze.sides}</b>
          </>
        )}
      </p>
      <p>{freeze.reason}</p>
      <Facts
        rows={[
          ["by", freeze.by || (freeze.breach === "" ? "not recorded" : "the guard")],
          ["at", <Time at={freeze.at} />],
          ["expires", freeze.expiresAt === "" ? "when released" : <Time at={freeze.expiresAt} />],
          ["breach", <Id id={freeze.breach} page="breach" />],
          ["release asked by", freeze.releaseRequestedBy || "nobody"],
          ...(freeze.releasedBy
            ? [["released by", freeze.releasedBy] as [string, string]]
            : []),
          ["freeze", <Id id={freeze.id} />],
        ]}
      />
      {freeze.state === "in_force" && (
        <form class="inline" noValidate onSubmit={send}>
          <Input
            label="Why it can be released"
            name="release"
            value={reason}
            onValue={setReason}
            problem={pressed && reason.trim() === "" ? "Say why, in a sentence." : ""}
          />
          <button type="submit" disabled={ask.busy}>
            Request release
          </button>
        </form>
      )}
      {freeze.state === "release_requested" && (
        <p class="actions">
          <button type="button" disabled={release.busy} onClick={release.run}>
            Release
          </button>
          <span class="hint">By another person than {freeze.releaseRequestedBy}.</span>
        </p>
      )}
      <Problem failure={ask.failure ?? release.failure} />
      {freeze.state === "in_force" && (
        <Twin command={`surety ledger request-release ${freeze.id} --reason REASON`} />
      )}
      {freeze.state === "release_requested" && (
        <Twin command={`surety ledger release ${freeze.id}`} />
      )}
    </div>
  );
}
