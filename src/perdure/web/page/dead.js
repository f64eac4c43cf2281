// Dead letters: left the reasons, right the letters of one with their inputs as columns, below the one that is chosen.

import { download, get, ifAny, seg, server } from "./api.js";
import { letterActs, matchingActs } from "./deeds.js";
import { editor } from "./editor.js";
import { button, command, empty, h, mark, patch, pill, toast } from "./dom.js";
import { attempts, error, excerpt, json, named, trace } from "./inspector.js";
import { ago, at, many, n } from "./words.js";

const STAND = [
  ["parked", "Parked"],
  ["re-driven", "Tried again now"],
  ["resolved", "Resolved"],
  ["dropped", "Dropped"],
];
const ADVICE = {
  permanent: "Such an error does not heal by itself: mend the input or the script, then redrive; or drop it.",
  transient: "Such an error may heal by itself: ask the service, then redrive, slowly.",
  throttled: "The service asks for fewer calls: redrive with a rate.",
};
const COLUMNS = 7;

/** What a call was given, by name: the fields of its only argument, or its arguments. */
function fields({ data, parameters }) {
  const plain = x => x !== null && typeof x === "object" && !Array.isArray(x);
  if (Array.isArray(data))
    return data.length === 1 && plain(data[0])
      ? data[0]
      : Object.fromEntries(data.map((x, i) => [parameters[i] || String(i + 1), x]));
  return plain(data) ? data : { value: data };
}
/** Why a value is worth a look: no call of the step that succeeded had such a one. */
function odd(value, field, calls) {
  if (!field || value === undefined) return null;
  const number = typeof value === "boolean" || value === null || value === "" ? NaN : Number(value);
  if (field.values)
    return field.values.includes(JSON.stringify(value))
      ? null
      : `none of ${many(calls, "call")} that succeeded had this; they had ${field.values.slice(0, 6).join(", ")}${field.values.length > 6 ? ", …" : ""}`;
  if (Number.isNaN(number)) return `all ${many(calls, "call")} that succeeded had a number`;
  return number < field.least
    ? `below all ${many(calls, "call")} that succeeded (least ${n(field.least)})`
    : number > field.most
      ? `above all ${many(calls, "call")} that succeeded (most ${n(field.most)})`
      : null;
}
const shown = x => (x === undefined ? "" : typeof x === "string" ? x : JSON.stringify(x));

export function dead({ main, given, query, go, title, again }) {
  let asked = query,
    chosen = new Set(),
    accepted = null,
    acceptedOf = "",
    about = null,
    aboutOf = null;
  /** What calls of the step that succeeded were given: asked for once. */
  async function look(rows) {
    const steps = new Set(rows.map(x => x.letter.step)),
      l = rows[0]?.letter,
      of = steps.size === 1 && l.step ? `${l.run} ${l.step}` : "";
    if (of === acceptedOf) return;
    accepted = null;
    if (of) accepted = await ifAny(get(`/letters/${l.letter}/accepted`));
    acceptedOf = of;
  }
  const place = () => main.querySelector("[data-key=editor]");
  const stopEditing = () => place()?.replaceChildren();
  async function edit(id) {
    try {
      const input = await get(`/letters/${id}/input`);
      place()?.replaceChildren(editor(input, stopEditing, again));
      place()?.querySelector("input")?.focus();
    } catch (failed) {
      toast(failed.message);
    }
  }
  const address = (changed, letter = null) => {
    const q = new URLSearchParams(asked);
    for (const [k, v] of Object.entries(changed))
      if (v) q.set(k, v);
      else q.delete(k);
    return `/dead${letter ? `/${letter}` : ""}${q.size ? `?${q}` : ""}`;
  };
  async function refresh() {
    const status = asked.get("status") || "parked",
      filters = { run: asked.get("run"), step: asked.get("step"), error: asked.get("q") };
    const [why, one] = await Promise.all([get("/letters/reasons"), given ? ifAny(get(`/letters/${given}`)) : null]);
    const filtered = Object.values(filters).some(Boolean) || status !== "parked";
    const reason = filtered ? asked.get("reason") : asked.get("reason") || one?.reason || why.reasons[0]?.reason;
    const page = await get("/letters", { status, reason, ...filters, limit: 200 });
    await look(page.letters);
    if (one?.seq && aboutOf !== given) {
      about = await ifAny(get(`/runs/${seg(one.run)}/steps/${one.seq}/call`));
      aboutOf = given;
    }
    const marked = page.letters.some(x =>
      Object.entries(fields(x)).some(([k, v]) =>
        odd(
          v,
          accepted?.fields.find(f => f.name === k),
          accepted?.calls,
        ),
      ),
    );
    const group = reason ? why.reasons.find(x => x.reason === reason) : null,
      rows = page.letters;
    for (const id of chosen) if (!rows.some(x => x.letter.letter === id)) chosen.delete(id);
    const matching = Object.fromEntries(Object.entries({ reason, ...filters }).filter(([, v]) => v));
    const count =
      page.next == null ? rows.length : group && !Object.values(filters).some(Boolean) ? group.letters : null;
    title(`Dead letters${given ? ` ${given}` : ""}`);
    patch(
      main,
      h(
        "div",
        { class: "top" },
        h(
          "div",
          { class: "grow" },
          h("h1", {}, "Dead letters"),
          h(
            "div",
            { class: "sub" },
            h(
              "span",
              {},
              why.letters
                ? `${many(why.letters, "letter")} parked, for ${many(why.reasons.length, "reason")}`
                : "none is parked",
            ),
          ),
        ),
      ),
      h(
        "div",
        { class: "dl" },
        h(
          "section",
          { class: "card", "aria-label": "Reasons" },
          h(
            "header",
            {},
            h("h2", {}, "Reasons"),
            why.reasons.length ? h("span", { class: "count" }, n(why.reasons.length)) : null,
          ),
          why.reasons.length
            ? why.reasons.map(x =>
                h(
                  "a",
                  {
                    class: "grp",
                    href: x.reason
                      ? `/dead?reason=${x.reason}`
                      : `/dead?step=${encodeURIComponent(x.newest.step || "")}`,
                    "data-row": true,
                    "data-key": x.reason || `${x.newest.step} ${x.shape}`,
                    "aria-current": x.reason && x.reason === reason ? "true" : null,
                  },
                  h(
                    "span",
                    { class: "h" },
                    mark("dead", 13, true),
                    h("b", { class: "clip" }, x.error),
                    h("span", { class: "n" }, n(x.letters)),
                  ),
                  h("span", { class: "m", title: x.shape }, x.shape),
                  h(
                    "span",
                    { class: "f" },
                    h("span", { class: "mono" }, x.newest.step || x.newest.workflow),
                    x.newest.verdict ? h("span", {}, x.newest.verdict.kind) : null,
                    h("span", { title: at(x.last) }, `last ${ago(x.last)}`),
                  ),
                ),
              )
            : empty("No letter is parked."),
        ),
        h(
          "div",
          { class: "stack" },
          h(
            "section",
            { class: "card", "aria-label": "Letters" },
            h(
              "header",
              {},
              h("h2", { class: "nowrap" }, group ? group.error : "Letters"),
              group ? h("span", { class: "mute clip" }, group.shape) : null,
              h("span", { class: "grow" }),
              group?.newest.verdict
                ? h(
                    "span",
                    { class: "pill" },
                    group.newest.verdict.code && group.newest.verdict.confidence !== "possible"
                      ? group.newest.verdict.code
                      : group.newest.verdict.kind,
                  )
                : null,
            ),
            group?.newest.verdict || marked
              ? h(
                  "p",
                  { class: "hint" },
                  h("span", { class: "grow" }, ADVICE[group?.newest.verdict?.kind] || ""),
                  marked
                    ? h("span", {}, h("span", { class: "odd" }, "marked"), " no call that succeeded had such a value")
                    : null,
                )
              : null,
            h(
              "div",
              { class: "tool" },
              STAND.map(([k, t]) =>
                h(
                  "a",
                  {
                    class: "chip",
                    href: `/dead${k === "parked" ? "" : `?status=${k}`}`,
                    "aria-current": status === k ? "true" : null,
                  },
                  t,
                  page.totals[k] ? h("span", { class: "n" }, n(page.totals[k])) : null,
                ),
              ),
              filters.run
                ? h(
                    "a",
                    {
                      class: "chip",
                      "aria-current": "true",
                      href: address({ run: "" }),
                      "aria-label": `run ${filters.run}; remove this filter`,
                    },
                    `run ${filters.run}`,
                    h("span", { "aria-hidden": "true" }, "×"),
                  )
                : null,
              h("span", { class: "grow" }),
              h(
                "label",
                { class: "search" },
                mark("search", 12, true),
                h("input", {
                  "data-search": true,
                  "aria-label": "Text in the error",
                  placeholder: "text in the error",
                  value: asked.get("q") || "",
                  spellcheck: "false",
                  on: { change: e => go(address({ q: e.target.value.trim(), reason: "" })) },
                }),
                h("kbd", {}, "/"),
              ),
            ),
            chosen.size
              ? bar(rows)
              : rows.length > 1
                ? h(
                    "div",
                    { class: "bar", role: "region", "aria-label": "All that match" },
                    h(
                      "span",
                      { class: "mute" },
                      count == null ? "more than these match" : `all ${n(count)} that match`,
                    ),
                    h("span", { class: "grow" }),
                    server.read_only || status !== "parked"
                      ? null
                      : matchingActs(go, matching, count, rows).map(one => button(...one)),
                    button(
                      "Export",
                      "",
                      () =>
                        download("letters", {
                          ...(reason ? { reason } : {}),
                          ...(filters.run ? { run: filters.run } : {}),
                          status,
                        }).catch(e => toast(e.message)),
                      "Export these letters as JSON Lines",
                    ),
                  )
                : null,
            rows.length
              ? table(rows)
              : filtered || reason
                ? empty("No letter matches. ", h("a", { class: "link", href: "/dead" }, "Show those that are parked"))
                : empty(
                    "No letter is parked. A call that fails for good becomes one, with its input and its error, to be tried again or dropped.",
                  ),
            page.next
              ? h(
                  "p",
                  { class: "empty" },
                  "Only the newest 200 are listed; what is done to all that match is done to all of them.",
                )
              : null,
          ),
          given
            ? one
              ? letter(
                  one,
                  rows.find(x => String(x.letter.letter) === given),
                )
              : h("section", { class: "card" }, empty(`There is no dead letter ${given}.`))
            : null,
        ),
      ),
    );
  }
  function table(rows) {
    const names = [...new Set(rows.slice(0, 50).flatMap(x => Object.keys(fields(x))))],
      cols = names.slice(0, COLUMNS),
      all = rows.every(x => chosen.has(x.letter.letter));
    const steps = new Set(rows.map(x => x.letter.step)).size > 1;
    return h(
      "div",
      { class: given ? "scroll some" : "scroll", tabindex: 0, role: "region", "aria-label": "Letters, table" },
      h(
        "table",
        { class: "letters" },
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h(
              "th",
              { scope: "col" },
              h("input", {
                type: "checkbox",
                "aria-label": "Choose all letters that are shown",
                checked: all,
                on: {
                  change: () => {
                    if (all) chosen.clear();
                    else for (const x of rows) chosen.add(x.letter.letter);
                    again();
                  },
                },
              }),
            ),
            h("th", { scope: "col" }, "Letter"),
            steps ? h("th", { scope: "col" }, "Step") : null,
            cols.map(c => h("th", { scope: "col" }, c)),
            names.length > COLUMNS ? h("th", { scope: "col" }, `and ${names.length - COLUMNS} more`) : null,
            h("th", { class: "r", scope: "col" }, "Tries"),
            h("th", { class: "r", scope: "col" }, "Parked"),
          ),
        ),
        h(
          "tbody",
          {},
          rows.map(row => {
            const l = row.letter,
              f = fields(row);
            return h(
              "tr",
              { "data-key": String(l.letter), "aria-current": String(l.letter) === given ? "true" : null },
              h(
                "td",
                {},
                h("input", {
                  type: "checkbox",
                  "aria-label": `Choose letter ${l.letter}`,
                  checked: chosen.has(l.letter),
                  on: {
                    change: () => {
                      if (!chosen.delete(l.letter)) chosen.add(l.letter);
                      again();
                    },
                  },
                }),
              ),
              h(
                "td",
                {},
                h("a", { class: "link num", "data-row": true, href: address({}, l.letter) }, n(l.letter)),
                l.edited ? h("span", { class: "faint" }, " edited") : null,
              ),
              steps ? h("td", {}, l.step || l.workflow) : null,
              cols.map(c => {
                const why = odd(
                  f[c],
                  accepted?.fields.find(x => x.name === c),
                  accepted?.calls,
                );
                return h(
                  "td",
                  { class: "mono cell", title: why ? `${shown(f[c])}: ${why}` : shown(f[c]) },
                  why ? h("span", { class: "odd" }, shown(f[c])) : shown(f[c]),
                );
              }),
              names.length > COLUMNS ? h("td", { class: "faint" }, "…") : null,
              h("td", { class: "r" }, n(l.attempts)),
              h("td", { class: "r mute", title: at(l.parked) }, ago(l.parked)),
            );
          }),
        ),
      ),
    );
  }
  function bar(rows) {
    const ids = [...chosen].sort((a, b) => a - b).join(" ");
    return h(
      "div",
      { class: "bar", role: "region", "aria-label": "What is chosen" },
      h("b", {}, `${n(chosen.size)} chosen`),
      h("span", { class: "grow" }),
      server.read_only || (asked.get("status") || "parked") !== "parked"
        ? [command(`perdure dlq redrive ${ids}`), command(`perdure dlq drop ${ids}`)]
        : letterActs(
            go,
            rows.filter(x => chosen.has(x.letter.letter)),
          ).map(one => button(...one)),
    );
  }
  function letter(one, line) {
    return h(
      "div",
      { class: "two", "data-key": `letter ${one.letter}` },
      h(
        "section",
        { class: "card", "aria-label": `Letter ${one.letter}` },
        h(
          "header",
          {},
          mark("dead", 14, true),
          h("h2", { class: "nowrap" }, `Letter ${n(one.letter)}`),
          h("span", { class: "mono mute clip" }, one.step || "the whole run"),
          h("span", { class: "grow" }),
          pill(one.status === "parked" ? "dead" : "done", line?.letter.status || one.status),
        ),
        h(
          "div",
          { class: "pad14" },
          error({ type: one.error, message: one.message, notes: one.notes }),
          h(
            "section",
            { class: "sec" },
            h("h3", {}, one.edited == null ? "Input" : "Recorded input"),
            json(named(one.inputs, line?.parameters || []), "Recorded input"),
          ),
          one.edited == null
            ? null
            : h(
                "section",
                { class: "sec" },
                h("h3", {}, "Edited input"),
                json(named(one.edited, line?.parameters || []), "Edited input"),
              ),
          one.result == null ? null : h("section", { class: "sec" }, h("h3", {}, "Result"), json(one.result, "Result")),
          one.status === "parked" && line && !server.read_only
            ? h(
                "div",
                { class: "acts" },
                letterActs(go, [line]).map(x => button(...x)),
                one.seq
                  ? button("Edit input", "", () => edit(one.letter), `Edit the input of letter ${one.letter}`)
                  : null,
              )
            : null,
          one.status === "parked" && !server.read_only ? h("div", { "data-keep": true, "data-key": "editor" }) : null,
          one.status === "parked"
            ? h(
                "div",
                { class: "ways" },
                [
                  ...(line && !server.read_only
                    ? []
                    : [
                        ["try it again", `perdure dlq redrive ${one.letter}`],
                        ["give it up", `perdure dlq drop ${one.letter}`],
                      ]),
                  ...(line && !server.read_only && one.seq
                    ? []
                    : [["edit its input", `perdure dlq edit ${one.letter}`]]),
                ].map(([t, c]) => h("div", { class: "way" }, h("span", { class: "faint" }, t), command(c))),
              )
            : null,
        ),
      ),
      h(
        "section",
        { class: "card", "aria-label": "Attempts" },
        h(
          "header",
          {},
          h("h2", {}, many(one.attempts.length, "attempt")),
          h("span", { class: "grow" }),
          h(
            "a",
            { class: "btn small", href: one.seq ? `/runs/${seg(one.run)}?step=${one.seq}` : `/runs/${seg(one.run)}` },
            "In the run",
          ),
        ),
        h(
          "div",
          { class: "pad14" },
          h(
            "div",
            {},
            attempts(
              one.attempts.map(a => ({
                started: a.time,
                seconds: a.seconds,
                verdict: a.verdict,
                error: { type: a.error, message: a.message },
              })),
              null,
            ),
          ),
          about?.excerpt
            ? h(
                "section",
                { class: "sec" },
                h(
                  "h3",
                  {},
                  "Code",
                  h(
                    "span",
                    { class: "faint mono clip", title: about.excerpt.file },
                    `${about.excerpt.file.split("/").at(-1)}:${about.excerpt.line} in ${about.excerpt.function}`,
                  ),
                ),
                excerpt(about.excerpt),
              )
            : null,
          trace(one.attempts.at(-1)?.traceback),
        ),
      ),
    );
  }
  let seen = null;
  async function first() {
    await refresh();
    if (given !== seen) {
      seen = given;
      main.querySelector("tr[aria-current]")?.scrollIntoView({ block: "nearest" });
    }
  }
  return {
    refresh: first,
    readdress(q) {
      asked = q;
      return refresh();
    },
  };
}
