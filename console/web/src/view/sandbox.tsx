// The programs that run apart from the node: under which policy, what it refused, and how far their
// audit trails have come. A head that nobody has read for a while is shown as old, not as good.

import * as fresh from "../fresh";
import { count, span } from "../instant";
import type { AuditHead, Sandbox } from "../wire";
import { enclaveFacts } from "./enclave";
import { Facts, Id, Pill, Section, Twin } from "./text";

export function Sandboxes(props: { sandboxes: Sandbox[]; silence: fresh.Silence }) {
  if (props.sandboxes.length === 0) return null;
  return (
    <Section title="Sandboxes and enclaves">
      <ul class="tiles boxes" aria-label="sandboxes">
        {props.sandboxes.map((box) => (
          <Box key={box.name} box={box} silence={props.silence} />
        ))}
      </ul>
      <Twin command="surety sandbox list" />
    </Section>
  );
}

function Box(props: { box: Sandbox; silence: fresh.Silence }) {
  const { box, silence } = props;
  const shown = fresh.showSandbox(box, silence);
  return (
    <li class={`tile ${shown.tone}`} data-sandbox={box.name} data-tone={shown.tone}>
      <p class="top">
        <b>{box.name}</b>
        <span class="word">{shown.word}</span>
      </p>
      <p>
        {around(box)}
        {box.restarts > 0 && `, started again ${count(box.restarts)} times`}
      </p>
      {box.line !== "" && <p class="detail">{box.line}</p>}
      {box.id !== "" && <Facts rows={facts(box, silence)} />}
    </li>
  );
}

// What stands between the program and the machine.
function around(box: Sandbox): string {
  if (box.enclave) {
    const sort = box.enclave.guarantee === "hardware" ? "an" : "a simulated";
    return `in ${sort} enclave, behind a kernel of its own`;
  }
  switch (box.class) {
    case "sentry":
      return "in a sandbox, with a kernel of its own";
    case "vm":
      return "in a sandbox, with a virtual machine of its own";
    case "process":
      return "in a process of its own, with nothing around it";
  }
  return "in the node's process";
}

function facts(box: Sandbox, silence: fresh.Silence): Parameters<typeof Facts>[0]["rows"] {
  const enforced = box.mode === "enforce" && !fresh.isSilent(silence);
  return [
    ["sandbox", <Id id={box.id} />],
    ...(box.enclave ? enclaveFacts(box.enclave, silence) : []),
    [
      "policy",
      <>
        {box.policy || "none"}{" "}
        {box.mode !== "" && <Pill tone={enforced ? "good" : "unknown"}>{box.mode}</Pill>}{" "}
        <Id id={box.policyDigest} />
      </>,
    ],
    [
      "refused",
      <>
        <b class={box.refused > 0 ? "num bad" : "num"}>{count(box.refused)}</b>{" "}
        {box.refused === 1 ? "act" : "acts"},{" "}
        <span class="num">{count(box.wouldRefuse)}</span> would be
      </>,
    ],
    [
      "audit",
      <>
        <span class="num">{count(box.records)}</span> records,{" "}
        <span class="num">{box.recordsPerSecond.toFixed(1)}</span> / s
      </>,
    ],
    ["chain head", head(box, silence)],
    [
      "anchored",
      box.anchoredSeq === 0 ? (
        "not yet"
      ) : (
        <>
          record <span class="num">{count(box.anchoredSeq)}</span>, at leaf{" "}
          <span class="num">{count(box.anchoredIndex)}</span>
        </>
      ),
    ],
    ["image", <Id id={box.image} />],
  ];
}

function head(box: Sandbox, silence: fresh.Silence) {
  if (box.headAgeMillis < 0) return "not read yet";
  return (
    <>
      record <span class="num">{count(box.headSeq)}</span> <Id id={box.head} />, read{" "}
      <span class="num age">{span(fresh.ageNow(box.headAgeMillis, silence))}</span> ago
    </>
  );
}

/** Under which sandbox a decision's scores were computed. */
export function AuditView(props: { audit: AuditHead }) {
  const { audit } = props;
  return (
    <p class="hint audit">
      scored in <Id id={audit.sandbox} />
      {audit.seq > 0 && (
        <>
          , image <Id id={audit.image} />, policy {audit.policy} <Id id={audit.policyDigest} />{" "}
          <b>{audit.mode}</b>, <span class="num">{count(audit.refused)}</span> acts refused
        </>
      )}
      ; audit record <span class="num">{count(audit.decidedSeq)}</span>
      {audit.anchored ? (
        <>
          , head of <span class="num">{count(audit.seq)}</span> <Id id={audit.head} /> at leaf{" "}
          <span class="num">{count(audit.index)}</span>
        </>
      ) : (
        ", not anchored yet"
      )}
    </p>
  );
}
