// The path of a loan or application through every part, from the evidence log: what was recorded,
// when, and whether the log's proof of it was checked.

import { useEffect } from "preact/hooks";
import { evidence } from "../api";
import { kindWords } from "../book";
import { count } from "../instant";
import { useAnswer, type Answer } from "../use";
import type { Step, Traced } from "../wire";
import { ProvedView } from "./enclave";
import { AuditView } from "./sandbox";
import { Id, Loading, Pill, Problem, Section, Time, Twin } from "./text";

// The log follows what happens by a moment, and the guard by another: a page that opens right after
// an act looks again for a while.
const againMillis = [500, 1_000, 2_000, 4_000, 8_000];

/** The trace of a thing, asked for again for a while after its version changed. */
export function useTrace(id: string, version: unknown): Answer<Traced> {
  const answer = useAnswer(() => evidence.trace(id), [id]);
  useEffect(() => {
    const timers = againMillis.map((millis) => setTimeout(answer.reload, millis));
    return () => timers.forEach(clearTimeout);
  }, [id, version]);
  return answer;
}

export function TraceView(props: { id: string; trace: Answer<Traced> }) {
  const answer = props.trace;
  const steps = answer.value?.steps ?? [];
  const absent = answer.failure?.code === "not_found";
  const proved = steps.filter((step) => step.proved).length;
  return (
    <Section
      title="Trace"
      aside={
        answer.value && (
          <Pill tone={steps.length > 0 && proved === steps.length ? "good" : "unknown"}>
            {count(proved)} of {count(steps.length)} steps proved
          </Pill>
        )
      }
    >
      {!absent && <Problem failure={answer.failure} retry={answer.reload} />}
      {!answer.value && !absent && answer.loading && <Loading what="the trace" />}
      {steps.length === 0 && (answer.value || absent) && (
        <p class="faint">
          Nothing in the log yet.{" "}
          <button type="button" class="link" onClick={answer.reload}>
            Look again
          </button>
        </p>
      )}
      <ol class="trace">
        {steps.map((step) => (
          <StepView key={step.index} step={step} />
        ))}
      </ol>
      {answer.value && answer.value.checkpoint !== "" && (
        <details>
          <summary>Checkpoint of a log of {count(answer.value.treeSize)} records</summary>
          <pre>{answer.value.checkpoint}</pre>
        </details>
      )}
      <Twin command={`surety trace ${props.id}`} />
    </Section>
  );
}

function StepView(props: { step: Step }) {
  const { step } = props;
  return (
    <li>
      <span class="num index" title="index in the log">
        {step.index}
      </span>
      <span class="what">
        <b>{kindWords(step.kind)}</b> <span class="chip">{step.part}</span>{" "}
        {step.note && <span class="faint">{step.note}</span>}
      </span>
      <Time at={step.at} />
      <span class="mark">
        {step.proved ? (
          <span class="proved" title="its inclusion was checked against the checkpoint">
            ✓ proved
          </span>
        ) : (
          <span class="faint">not proved</span>
        )}
      </span>
      {step.audit && <AuditView audit={step.audit} />}
      {step.enclave && <ProvedView enclave={step.enclave} />}
      <details>
        <summary>
          record, digest <Id id={step.digest} />
        </summary>
        {step.payload !== "" && <pre>{pretty(step.payload)}</pre>}
        <p class="hint">
          digest <Id id={step.digest} full />
        </p>
      </details>
    </li>
  );
}

/** JSON set out over lines; what is none stays as it is. Digits beyond 2^53 are kept as text. */
export function pretty(json: string): string {
  try {
    const exact = json.replace(/([:[,]\s*)(-?\d{16,})(?=\s*[,\]}])/g, '$1"$2"');
    return JSON.stringify(JSON.parse(exact), null, 2);
  } catch {
    return json;
  }
}
