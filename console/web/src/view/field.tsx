// A labelled input with its hint and its problem, tied together for those who cannot see them.

import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";

interface Common {
  label: string;
  hint?: ComponentChildren;
  problem?: string | undefined;
}

interface Wiring {
  id: string;
  "aria-describedby"?: string;
  "aria-invalid"?: boolean;
}

function Frame(props: Common & { of: (wiring: Wiring) => ComponentChildren }) {
  const id = useId();
  const described = [props.hint ? `${id}-hint` : "", props.problem ? `${id}-problem` : ""]
    .filter((part) => part !== "")
    .join(" ");
  const wiring: Wiring = { id };
  if (described !== "") wiring["aria-describedby"] = described;
  if (props.problem) wiring["aria-invalid"] = true;
  return (
    <div class="field">
      <label for={id}>{props.label}</label>
      {props.of(wiring)}
      {props.hint && (
        <p class="hint" id={`${id}-hint`}>
          {props.hint}
        </p>
      )}
      {props.problem && (
        <p class="wrong" id={`${id}-problem`}>
          {props.problem}
        </p>
      )}
    </div>
  );
}

export function Input(
  props: Common & {
    value: string;
    onValue: (value: string) => void;
    name: string;
    secret?: boolean; // not shown while it is typed
    mode?: "numeric" | "decimal" | "tel";
    complete?: string; // what the browser may fill in, as in the autocomplete attribute
    onLeave?: () => void;
  },
) {
  return (
    <Frame
      {...props}
      of={(wiring) => {
        const common = {
          ...wiring,
          name: props.name,
          inputMode: props.mode ?? "text",
          autoComplete: props.complete ?? "off",
          spellcheck: false,
          value: props.value,
          onInput: (event: InputEvent) => props.onValue((event.target as HTMLInputElement).value),
          onBlur: () => props.onLeave?.(),
        };
        if (props.secret) return <input {...common} type="password" />;
        return props.mode === "tel" ? <input {...common} type="tel" /> : <input {...common} />;
      }}
    />
  );
}

export function Choice(
  props: Common & {
    value: string;
    onValue: (value: string) => void;
    name: string;
    options: readonly (readonly [value: string, words: string])[];
  },
) {
  return (
    <Frame
      {...props}
      of={(wiring) => (
        <select
          {...wiring}
          name={props.name}
          value={props.value}
          onChange={(event) => props.onValue(event.currentTarget.value)}
        >
          {props.options.map(([value, words]) => (
            <option key={value} value={value}>
              {words}
            </option>
          ))}
        </select>
      )}
    />
  );
}

export function Tick(
  props: Common & { value: boolean; onValue: (value: boolean) => void; name: string },
) {
  const id = useId();
  const problem = `${id}-problem`;
  return (
    <div class="field tick">
      <input
        id={id}
        name={props.name}
        type="checkbox"
        checked={props.value}
        aria-invalid={Boolean(props.problem)}
        {...(props.problem ? { "aria-describedby": problem } : {})}
        onChange={(event) => props.onValue(event.currentTarget.checked)}
      />
      <label for={id}>{props.label}</label>
      {props.problem && (
        <p class="wrong" id={problem}>
          {props.problem}
        </p>
      )}
    </div>
  );
}
