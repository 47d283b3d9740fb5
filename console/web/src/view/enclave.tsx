// What an enclave has shown of itself. A simulated one never looks good: nothing stands behind its
// word but the program that says it.

import * as fresh from "../fresh";
import { count } from "../instant";
import type { Enclave, ProvedEnclave } from "../wire";
import { Facts, Id, Pill } from "./text";

type Rows = Parameters<typeof Facts>[0]["rows"];

/** The rows of a sandbox's tile that say what vouches for it. */
export function enclaveFacts(enclave: Enclave, silence: fresh.Silence): Rows {
  return [
    [
      "enclave",
      <>
        <Guarantee of={enclave} silent={fresh.isSilent(silence)} /> {enclave.product} SVN{" "}
        <span class="num">{count(enclave.svn)}</span>
      </>,
    ],
    ["measured", <Id id={enclave.measurement} />],
    ["signer", <Id id={enclave.signer} />],
    [
      "appraisal",
      <>
        {enclave.status || "none"}; <span class="num">{count(enclave.releases)}</span>{" "}
        {enclave.releases === 1 ? "secret" : "secrets"} released,{" "}
        <b class={enclave.refusals > 0 ? "num bad" : "num"}>{count(enclave.refusals)}</b> refused of
        late
      </>,
    ],
  ];
}

function Guarantee(props: { of: { guarantee: string; tee: string }; silent: boolean }) {
  const { guarantee, tee } = props.of;
  if (guarantee !== "hardware") {
    return (
      <span title="no memory protection: the operator of the machine can read all that the program reads">
        <Pill tone="warn">simulated</Pill>
      </span>
    );
  }
  if (tee === "tpm") {
    return (
      <span title="the boot was measured; memory is not protected from the operator">
        <Pill tone="warn">tpm</Pill>
      </span>
    );
  }
  return <Pill tone={props.silent ? "unknown" : "good"}>{tee}</Pill>;
}

/** In which enclave a decision's scores were computed. */
export function ProvedView(props: { enclave: ProvedEnclave }) {
  const { enclave } = props;
  return (
    <p class="hint audit">
      <Guarantee of={enclave} silent={false} /> {enclave.product} SVN{" "}
      <span class="num">{count(enclave.svn)}</span>, measured <Id id={enclave.measurement} />, signed
      by <Id id={enclave.signer} />, started at leaf{" "}
      <span class="num">{count(enclave.startedIndex)}</span>
      {enclave.appraisal !== "" && (
        <>
          ; appraised by {enclave.verifier}: <b>{enclave.status}</b>
        </>
      )}
      {enclave.released.map((r) => (
        <>
          ; given {r.broker}/{r.resource} under policy {enclave.policy},{" "}
          {r.logged ? (
            <>
              at leaf <span class="num">{count(r.index)}</span>
            </>
          ) : (
            "not in this log"
          )}
        </>
      ))}
    </p>
  );
}
