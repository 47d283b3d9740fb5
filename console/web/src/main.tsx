// Starts the console: one connection for the board, one tree of pages.

import "./console.css";
import { render } from "preact";
import { App } from "./app";
import { onTokenChange } from "./identity";
import { Live } from "./live";
import { restoreTheme } from "./theme";
import { LiveContext } from "./use";

restoreTheme();
const live = new Live();
const follow = () => (document.hidden ? live.stop() : live.start());
follow();
document.addEventListener("visibilitychange", follow);
addEventListener("pagehide", () => live.stop());
addEventListener("pageshow", (event) => event.persisted && follow());
addEventListener("online", follow);
onTokenChange(follow);

const root = document.getElementById("console")!;
root.textContent = "";
render(
  <LiveContext.Provider value={live}>
    <App />
  </LiveContext.Provider>,
  root,
);
