// Starts the console: one connection for the board, one tree of pages.

import "./console.css";
import { render } from "preact";
import { App } from "./app";
import { Live } from "./live";
import { restoreTheme } from "./theme";
import { LiveContext } from "./use";

restoreTheme();
const live = new Live();
live.start();
addEventListener("online", () => live.again());

const root = document.getElementById("console")!;
root.textContent = "";
render(
  <LiveContext.Provider value={live}>
    <App />
  </LiveContext.Provider>,
  root,
);
