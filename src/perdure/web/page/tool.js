// What stands above a list: filters that are links, a field for a text, and the list as a file.

import { download } from "./api.js";
import { button, h, mark, toast } from "./dom.js";
import { n } from "./words.js";

/** The address with a query that was changed; what is empty is left out. */
export function address(path, asked, changed) {
  const q = new URLSearchParams(asked);
  for (const [k, v] of Object.entries(changed))
    if (v != null && v !== "") q.set(k, v);
    else q.delete(k);
  return `${path}${q.size ? `?${q}` : ""}`;
}
/** A filter: a link, with how many it leaves, if that is known. */
export const chip = (href, text, current, count, props) =>
  h(
    "a.chip",
    { href, "aria-current": current ? "true" : null, ...props },
    text,
    count == null || count === "" ? null : h("span.n", typeof count === "number" ? n(count) : count),
  );
/** A filter that is in use, to be removed. */
export const used = (href, text, name = text) =>
  chip(href, [text, h("span", { "aria-hidden": "true" }, "×")], true, null, {
    "aria-label": `${name}; remove this filter`,
  });
/** A field in which a text is looked for; `main`: the key / leads to it. */
export const field = (label, placeholder, value, changed, main = true) =>
  h(
    "label.search",
    mark("search", 12, true),
    h("input", {
      "data-search": main,
      "aria-label": label,
      placeholder,
      spellcheck: "false",
      value: value || "",
      on: { change: e => changed(e.target.value.trim()) },
    }),
    main ? h("kbd", "/") : null,
  );
const whole = new Set();
/**
 * Of a list what is shown at first, so that a view has few elements, and a button for the rest of it; once that is pressed,
 * all of it is shown. `first` says which; `paint` shows them anew.
 * @param {string} name @param {any[]} items @param {(item: any, i: number) => any} first @param {() => void} paint
 */
export function few(name, items, first, paint) {
  const open = whole.has(name),
    some = items.filter(first);
  return [
    open ? items : some,
    some.length === items.length
      ? null
      : button(open ? "Show fewer" : `Show all ${n(items.length)}`, "", () => {
          whole[open ? "delete" : "add"](name);
          paint();
        }),
  ];
}
/** The button for a file of what is listed. */
export const exporting = (what, query, label, text = "Export") =>
  button(text, "", () => download(what, query).catch(e => toast(e.message)), `Export ${label} as JSON Lines`);
