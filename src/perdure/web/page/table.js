// A table: its columns as data. On a phone each row is a stack of named values.

import { seg } from "./api.js";
import { h } from "./dom.js";

/** A row more, and a table scrolls in a frame of its own, below a head that stays. */
const MANY = 14;

/**
 * A table in a frame that scrolls by itself.
 * @param {string} label what it is a table of
 * @param {any[]} columns of each its title, its cell of a row, its classes, and the hint of a cell; what is no column is left out
 * @param {any[]} rows @param {(row: any) => string} key
 * @param {{kind?: string, some?: boolean, current?: (row: any) => boolean}} how `some`: at most a few rows are seen at once
 */
export function table(label, columns, rows, key, { kind = "stacks", some = rows.length > MANY, current } = {}) {
  const shown = columns.filter(Boolean);
  return h(
    "div",
    { class: some ? "scroll some" : "scroll", tabindex: 0, role: "region", "aria-label": `${label}, table` },
    h(
      "table",
      { class: kind },
      h(
        "thead",
        h(
          "tr",
          shown.map(([title, , look]) =>
            h("th", { scope: "col", class: look?.split(" ").includes("r") ? "r" : null }, title),
          ),
        ),
      ),
      h(
        "tbody",
        rows.map(row =>
          h(
            "tr",
            { "data-key": key(row), "aria-current": current?.(row) ? "true" : null },
            shown.map(([title, cell, look, hint]) => {
              const what = cell(row),
                none = what === "–" || what == null;
              return h(
                "td",
                {
                  class: `${look || ""}${none ? " none" : ""}`.trim() || null,
                  title: hint?.(row),
                  "data-title": typeof title === "string" ? title : null,
                },
                what,
              );
            }),
          ),
        ),
      ),
    ),
  );
}
/** The title of a column that only those hear who do not see what it holds. */
export const unseen = title => h("span.sr", title);
export const runLink = id => (id ? h("a.link.id", { href: `/runs/${seg(id)}` }, id) : "–");
