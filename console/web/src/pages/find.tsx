// What an id is the id of: all parts are asked at once, and the page of the one that knows opens.

import { useEffect } from "preact/hooks";
import { guard, ledger, lending } from "../api";
import { address } from "../route";
import { useAnswer } from "../use";
import { Loading, Problem, Section } from "../view/text";
import { TraceView, useTrace } from "../view/trace";

export function FindPage(props: { id: string }) {
  const answer = useAnswer(() => find(props.id), [props.id]);
  const trace = useTrace(props.id, undefined);
  useEffect(() => {
    if (answer.value) location.replace(answer.value);
  }, [answer.value]);
  if (answer.value || answer.loading) {
    return (
      <Section title="Find" head>
        <Loading what={props.id} />
      </Section>
    );
  }
  return (
    <>
      <Section title="Find" head>
        <Problem failure={answer.failure} retry={answer.reload} />
        {!answer.failure && (
          <p>
            No loan, application, breach or account has the id <code>{props.id}</code>.
          </p>
        )}
      </Section>
      <TraceView id={props.id} trace={trace} />
    </>
  );
}

// An id that a part refuses is one it does not know; the trace says what is wrong with it.
async function find(id: string): Promise<string> {
  const none = () => undefined;
  const [loan, application, breach, found] = await Promise.all([
    lending.loan(id).catch(none),
    lending.application(id).catch(none),
    guard.breach(id).catch(none),
    ledger.lookupAccounts([id]).catch(none),
  ]);
  if (loan) return address("loan", loan.id);
  if (application) return address("application", application.id);
  if (breach) return address("breach", breach.id);
  return found?.accounts[0] ? address("account", found.accounts[0].id) : "";
}
