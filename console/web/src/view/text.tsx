// The small things every page is made of: an amount, an id, an instant, a state, a command.

import type { ComponentChildren } from "preact";
import type { Failure } from "../api";
import type { Tone } from "../fresh";
import * as instant from "../instant";
import { formatMinor, minor, type Currency } from "../money";
import { address, type Page } from "../route";

/** An amount of the wire in its currency; what is no amount is shown as it came. */
export function Amount(props: { of: string | bigint; in: Currency; code?: boolean }) {
  const value = typeof props.of === "bigint" ? props.of : minor(props.of);
  const code = props.code ? <span class="unit"> {props.in.code}</span> : null;
  return (
    <span class="num">
      {value === null ? String(props.of) : formatMinor(value, props.in.exponent)}
      {code}
    </span>
  );
}

/** An id, cut short in lists; it links to its page where there is one. */
export function Id(props: { id: string; page?: Page; full?: boolean }) {
  const { id, page, full } = props;
  if (id === "") return <span class="faint">none</span>;
  const short = full || id.length <= 14 ? id : `${id.slice(0, 4)}\u2026${id.slice(-6)}`;
  if (!page) return <code class={full ? "id whole" : "id"} title={id}>{short}</code>;
  return (
    <a class={full ? "id whole" : "id"} title={id} href={address(page, id)}>
      {short}
    </a>
  );
}

export function Time(props: { at: string }) {
  return (
    <time class="num" dateTime={props.at} title={instant.fullTime(props.at)}>
      {instant.clockTime(props.at)}
    </time>
  );
}

/** A state in a word and a colour. */
export function Pill(props: { tone: Tone; children: ComponentChildren }) {
  return <span class={`pill ${props.tone}`}>{props.children}</span>;
}

const tones: Record<string, Tone> = {
  approve: "good",
  approved: "good",
  disbursed: "good",
  active: "good",
  paid: "good",
  current: "good",
  running: "good",
  ready: "good",
  ok: "good",
  decline: "unknown",
  declined: "unknown",
  cancelled: "unknown",
  closed: "unknown",
  refer: "warn",
  referred: "warn",
  part_paid: "warn",
  release_requested: "warn",
  in_force: "warn",
  medium: "warn",
  due: "warn",
  late: "bad",
  written_off: "bad",
  open: "bad",
  confirmed: "bad",
  critical: "bad",
  high: "bad",
  failed: "bad",
};

/** A state of a loan, application, breach, freeze or part, by its word on the wire. */
export function Status(props: { of: string }) {
  if (props.of === "") return <span class="faint">unknown</span>;
  return <Pill tone={tones[props.of] ?? "unknown"}>{props.of.replace(/_/g, " ")}</Pill>;
}

/** Marks what the generator made up, wherever it shows. */
export function Origin(props: { of: string }) {
  if (props.of === "synthetic") return <span class="chip synthetic">synthetic</span>;
  return props.of === "" ? null : <span class="chip">{props.of}</span>;
}

/** The command that does or shows the same on the command line. */
export function Twin(props: { command: string }) {
  return (
    <p class="twin">
      <span class="sr">On the command line: </span>
      <code>{props.command}</code>
    </p>
  );
}

// The codes that another token may turn into an answer.
const tokenCodes = ["unauthenticated", "permission_denied", "unauthorized", "forbidden"];

/** What went wrong, and what to quote when asking about it. */
export function Problem(props: { failure: Failure | undefined; retry?: () => void }) {
  if (!props.failure) return null;
  const { message, code, requestId } = props.failure;
  return (
    <div class="problem" role="alert">
      <p>{message}</p>
      <p class="faint">
        {code}
        {requestId && (
          <>
            {", request "}
            <code>{requestId}</code>
          </>
        )}
        {tokenCodes.includes(code) && (
          <>
            {"; "}
            <a href={address("freezes")}>enter a token</a>
          </>
        )}
        {props.retry && (
          <button type="button" class="link" onClick={props.retry}>
            Try again
          </button>
        )}
      </p>
    </div>
  );
}

export function Loading(props: { what: string }) {
  return (
    <p class="faint" aria-busy="true">
      Loading {props.what}…
    </p>
  );
}

/** A list of facts, name and value. */
export function Facts(props: { rows: [string, ComponentChildren][] }) {
  return (
    <dl class="facts">
      {props.rows.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** A part of a page under its heading; the first of a page is its head. */
export function Section(props: {
  title: string;
  head?: boolean;
  aside?: ComponentChildren;
  children: ComponentChildren;
}) {
  return (
    <section class="card" aria-label={props.title}>
      <header>
        {props.head ? <h1>{props.title}</h1> : <h2>{props.title}</h2>}
        <span class="aside">{props.aside}</span>
      </header>
      {props.children}
    </section>
  );
}
