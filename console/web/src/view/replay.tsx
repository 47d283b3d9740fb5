// Computing a stored decision again, and saying whether every bit of it came out the same.

import { useState } from "preact/hooks";
import { lending } from "../api";
import { useAct } from "../use";
import { Pill, Problem, Twin } from "./text";

export function Replay(props: { application: string }) {
  const [result, setResult] = useState<{ equal: boolean; difference: string }>();
  const act = useAct(async () => setResult(await lending.replay(props.application)));
  return (
    <div class="act">
      <button type="button" onClick={act.run} disabled={act.busy}>
        Replay the decision
      </button>
      <span role="status">
        {result &&
          (result.equal ? (
            <Pill tone="good">equal, bit for bit</Pill>
          ) : (
            <Pill tone="bad">differs</Pill>
          ))}
      </span>
      {result && !result.equal && <p class="late">{result.difference}</p>}
      <Problem failure={act.failure} />
      <Twin command={`surety lend replay ${props.application}`} />
    </div>
  );
}
