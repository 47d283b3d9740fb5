// Who the node takes the caller for, and the way to be somebody else: a token.

import { useState } from "preact/hooks";
import { node } from "../api";
import { setToken, token } from "../identity";
import { useAnswer } from "../use";
import { Input } from "./field";
import { Problem } from "./text";

export function Identity() {
  // Asked with the token, which the answer to a stream already open would not have seen.
  const who = useAnswer(() => node.board().then((board) => board.principal), []);
  const [draft, setDraft] = useState("");
  const held = token() !== "";
  return (
    <div class="identity">
      <p role="status">
        You are <b>{who.failure ? "nobody the node knows" : who.value || "\u2026"}</b>
        {held && ", by the token you entered"}.
      </p>
      <Problem failure={who.failure} />
      <details>
        <summary>Be somebody else</summary>
        <form
          class="inline"
          onSubmit={(event) => {
            event.preventDefault();
            setToken(draft.trim());
            setDraft("");
          }}
        >
          <Input
            label="Token"
            name="token"
            secret
            value={draft}
            onValue={setDraft}
            hint="Kept in this tab until it is closed. surety access token create makes one."
          />
          <button type="submit" disabled={draft.trim() === ""}>
            Use it
          </button>
          {held && (
            <button type="button" onClick={() => setToken("")}>
              Forget it
            </button>
          )}
        </form>
      </details>
    </div>
  );
}
