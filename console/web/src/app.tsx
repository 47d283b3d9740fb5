// The frame around every page: where to go, whether the node is heard, and what must be in plain
// sight whichever page is open.

import { useEffect, useRef, useState } from "preact/hooks";
import { isSilent, showGuard } from "./fresh";
import { clockTime, span } from "./instant";
import { address, type Page, type Route } from "./route";
import { cycleTheme, theme } from "./theme";
import { useNews, useRoute } from "./use";
import { AccountPage, AccountsPage } from "./pages/accounts";
import { ApplicationPage } from "./pages/application";
import { ApplicationsPage, LoansPage } from "./pages/applications";
import { ApplyPage } from "./pages/apply";
import { BoardPage } from "./pages/board";
import { BreachesPage, BreachPage } from "./pages/breaches";
import { FindPage } from "./pages/find";
import { FreezesPage } from "./pages/freezes";
import { LoanPage } from "./pages/loan";
import { Pill, Section } from "./view/text";

export function App() {
  const route = useRoute();
  const main = useRef<HTMLElement>(null);
  const opened = useRef(false);
  const key = `${route.page}/${route.id}`;
  // A page that opens starts at its top, and keyboards and screen readers start there too.
  useEffect(() => {
    document.title = `${titles[route.page]} \u00b7 Surety`;
    if (opened.current) {
      main.current?.focus({ preventScroll: true });
      scrollTo(0, 0);
    }
    opened.current = true;
  }, [key]);
  return (
    <>
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault();
          main.current?.focus();
        }}
      >
        Skip to the page
      </a>
      <Header route={route} />
      <Banners />
      <main id="main" ref={main} tabIndex={-1} key={key}>
        {pageOf(route)}
      </main>
    </>
  );
}

function pageOf(route: Route) {
  const { id, query } = route;
  switch (route.page) {
    case "board":
      return <BoardPage />;
    case "apply":
      return <ApplyPage />;
    case "applications":
      return <ApplicationsPage outcome={query.outcome ?? ""} />;
    case "application":
      return <ApplicationPage id={id} />;
    case "loans":
      return <LoansPage status={query.status ?? ""} />;
    case "loan":
      return <LoanPage id={id} />;
    case "breaches":
      return <BreachesPage state={query.state ?? ""} />;
    case "breach":
      return <BreachPage id={id} />;
    case "freezes":
      return <FreezesPage query={query} />;
    case "accounts":
      return <AccountsPage code={query.code ?? ""} />;
    case "account":
      return <AccountPage id={id} />;
    case "find":
      return <FindPage id={id} />;
    case "unknown":
      return (
        <Section title="No such page" head>
          <p>
            This address names no page. <a href={address("board")}>Go to the board.</a>
          </p>
        </Section>
      );
  }
}

const titles: Record<Page, string> = {
  board: "Board",
  apply: "Apply",
  applications: "Applications",
  application: "Application",
  loans: "Loans",
  loan: "Loan",
  breaches: "Breaches",
  breach: "Breach",
  freezes: "Freezes",
  accounts: "Accounts",
  account: "Account",
  find: "Find",
  unknown: "No such page",
};

// The pages in the bar, each with the pages of single things that belong under it.
const bar: [Page, readonly Page[]][] = [
  ["board", []],
  ["apply", []],
  ["applications", ["application"]],
  ["loans", ["loan"]],
  ["breaches", ["breach"]],
  ["freezes", []],
  ["accounts", ["account"]],
];

function Header(props: { route: Route }) {
  const [, redraw] = useState(0);
  const [wanted, setWanted] = useState("");
  const current = (page: Page, under: readonly Page[]) => {
    if (page === props.route.page) return "page";
    return under.includes(props.route.page) ? "true" : undefined;
  };
  const find = (event: Event) => {
    event.preventDefault();
    if (wanted.trim() !== "") location.hash = address("find", wanted.trim());
    setWanted("");
  };
  return (
    <header class="top">
      <a class="brand" href={address("board")}>
        Surety
      </a>
      <nav aria-label="pages">
        {bar.map(([page, under]) => (
          <a key={page} href={address(page)} aria-current={current(page, under)}>
            {titles[page]}
          </a>
        ))}
      </nav>
      <form class="find" role="search" onSubmit={find}>
        <input
          type="search"
          name="find"
          aria-label="find an id"
          placeholder="find an id"
          autoComplete="off"
          spellcheck={false}
          value={wanted}
          onInput={(event) => setWanted(event.currentTarget.value)}
        />
      </form>
      <Health />
      <button
        type="button"
        class="theme"
        title="light, dark, or as the system is"
        onClick={() => {
          cycleTheme();
          redraw((n) => n + 1);
        }}
      >
        <span aria-hidden="true">◐ </span>
        <span class="sr">theme: </span>
        {theme()}
      </button>
    </header>
  );
}

function Health() {
  const { board, silence } = useNews();
  const shown = showGuard(board?.guard, silence);
  return (
    <span class="health" role="status">
      <span class="sr">guard: </span>
      <a href={address("board")}>
        <Pill tone={shown.tone}>{shown.word}</Pill>
      </a>
    </span>
  );
}

function Banners() {
  const { board, silence, problem } = useNews();
  return (
    <div class="banners">
      <div role="status">
        {board?.synthetic && (
          <p class="banner synthetic">
            <b>Synthetic applications.</b> The people and businesses shown are made up by the
            generator.
          </p>
        )}
      </div>
      {board && (board.timeLapse > 0 || board.businessDate !== "") && (
        <p class="banner quiet">
          Business date <b class="num">{board.businessDate}</b>
          {board.timeLapse > 0 && (
            <>
              , time-lapse: <b class="num">{rate(board.timeLapse)}</b> business days a minute
            </>
          )}
        </p>
      )}
      {isSilent(silence) && (board || problem !== "") && (
        <p class="banner lost">
          <b>
            {board ? (
              <>
                Connection lost <span class="num">{span(silence)}</span> ago.
              </>
            ) : (
              "Not connected."
            )}
          </b>{" "}
          {problem} {board && <>What you see is as of {clockTime(board.at)}. </>}Trying again.
        </p>
      )}
    </div>
  );
}

function rate(perMinute: number): string {
  return Number.isInteger(perMinute) ? String(perMinute) : perMinute.toFixed(1);
}
