// Dead letters: left the reasons, right the letters of one with their inputs as columns, below the one that is chosen.

import { download, get, ifAny, seg, server } from "./api.js";
import { letterActs, matchingActs } from "./deeds.js";
import { button, command, empty, h, heading, mark, patch, toast } from "./dom.js";
import { editor } from "./editor.js";
import { letter } from "./letter.js";
import { letterTable, oddities } from "./letters.js";
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
    const marked = page.letters.some(x => oddities(x, accepted).length);
    const group = reason ? why.reasons.find(x => x.reason === reason) : null,
      rows = page.letters;
    for (const id of chosen) if (!rows.some(x => x.letter.letter === id)) chosen.delete(id);
    const matching = Object.fromEntries(Object.entries({ reason, ...filters }).filter(([, v]) => v));
    const count =
      page.next == null ? rows.length : group && !Object.values(filters).some(Boolean) ? group.letters : null;
    title(`Dead letters${given ? ` ${given}` : ""}`);
    patch(
      main,
      heading(
        "Dead letters",
        h(
          "span",
          {},
          why.letters
            ? `${many(why.letters, "letter")} parked, for ${many(why.reasons.length, "reason")}`
            : "none is parked",
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
              ? letterTable(rows, { chosen, to: one => address({}, one), given, accepted, again })
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
                  { go, edit, about },
                )
              : h("section", { class: "card" }, empty(`There is no dead letter ${given}.`))
            : null,
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
