// A table: columns that say how a row is shown. It scrolls by itself where it is wider than the
// page, by keyboard too, so that the page never does.

import type { ComponentChildren } from "preact";

export interface Column<R> {
  head: string;
  cell: (row: R) => ComponentChildren;
  kind?: "num" | "row"; // a number, set right; or the cell that names its row
  keep?: boolean; // on one line
  hidden?: boolean; // its head is only read out
}

export function Table<R>(props: {
  label: string;
  columns: readonly Column<R>[];
  rows: readonly R[];
  keyOf: (row: R) => string | number;
  classOf?: (row: R) => string;
  caption?: string;
  class?: string;
  foot?: ComponentChildren;
}) {
  const { columns } = props;
  return (
    <div class="scroll" role="region" aria-label={props.label} tabIndex={0}>
      <table class={`${props.class ?? ""} ${columns.length > 4 ? "wide" : ""}`}>
        {props.caption && <caption>{props.caption}</caption>}
        <thead>
          <tr>
            {columns.map((column) => (
              <th key={column.head} scope="col" class={column.kind === "num" ? "num" : ""}>
                {column.hidden ? <span class="sr">{column.head}</span> : column.head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {props.rows.map((row) => (
            <tr key={props.keyOf(row)} class={props.classOf?.(row) ?? ""}>
              {columns.map((column) => (
                <Cell key={column.head} column={column} row={row} />
              ))}
            </tr>
          ))}
        </tbody>
        {props.foot && <tfoot>{props.foot}</tfoot>}
      </table>
    </div>
  );
}

function Cell<R>(props: { column: Column<R>; row: R }) {
  const { column, row } = props;
  if (column.kind === "row") return <th scope="row">{column.cell(row)}</th>;
  const classes = `${column.kind === "num" ? "num" : ""} ${column.keep ? "nowrap" : ""}`.trim();
  return <td class={classes}>{column.cell(row)}</td>;
}
