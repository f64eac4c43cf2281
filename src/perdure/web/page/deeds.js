// What people have had done, and the commands that this page starts for them.

import { act, get, seg, server } from "./api.js";
import { button, card, command, confirm, empty, fold, h, heading, patch, pill, sheet, pairs } from "./dom.js";
import { runLink, table } from "./table.js";
import { ago, at, many, n, quoted, took } from "./words.js";

const ENDS = {
  "under way": "running",
  done: "done",
  resolved: "done",
  "done, with dead letters": "dead",
  "failed again, or refused": "dead",
  refused: "parked",
  killed: "interrupted",
  interrupted: "interrupted",
  suspended: "suspended",
  skipped: "queued",
};
const ON_RUNS = /^(resume|cancel|fork|approve|reject)$/;
const UNDER_WAY = 500; // milliseconds between two looks at what a command prints

/** Ask, start a command, and show what it prints. Sent twice, it is started once. */
export function start(go, title, text, told, label, tone, path, body, more = null) {
  /** @type {string} */
  const key = crypto.randomUUID();
  confirm(
    title,
    text,
    more ? () => told + more.told() : told,
    label,
    tone,
    async () => {
      const job = await act(
        "POST",
        path,
        { ...body, ...more?.body() },
        more ? `${key}${more.told()}`.replaceAll(/[^\w-]/g, ".") : key,
      );
      go(`/jobs/${job.id}`);
      return "started";
    },
    more,
  );
}

/** How many at a time, and how fast: fields of a dialog. */
function pace(most) {
  const many = h("input", { type: "number", min: 1, max: 1000, value: String(most) }),
    rate = h("input", { placeholder: "as fast as it goes; or 5/s, 100/min", spellcheck: "false", autocomplete: "off" });
  const count = () => Math.max(1, Math.min(1000, Math.round(Number(many.value)) || 1));
  return {
    node: h("div.pace", h("label.stackfield", "At a time", many), h("label.stackfield", "How fast", rate)),
    fields: [many, rate],
    body: () => ({ concurrency: count(), rate: rate.value.trim() }),
    told: () =>
      `${count() > 1 ? ` --concurrency ${count()}` : ""}${rate.value.trim() ? ` --rate ${quoted(rate.value.trim())}` : ""}`,
  };
}

export function deeds({ main, query, go }) {
  let asked = query;
  async function refresh() {
    const [{ deeds: found, next }, { jobs }] = await Promise.all([
      get("/deeds", { after: asked.get("after") }),
      get("/jobs"),
    ]);
    patch(
      main,
      heading("Deeds", h("span", "what people have had done, by a command, this page or an agent")),
      h(
        "div.stack",
        jobs.length
          ? card(
              "Started here",
              jobs.length,
              h(
                "ul.plain",
                jobs.map(one =>
                  h(
                    "li",
                    { "data-key": one.id },
                    pill(ENDS[one.outcome] || "failed", one.outcome),
                    " ",
                    h("a.link.mono", { href: `/jobs/${one.id}`, "data-row": true }, one.command),
                    h("span.faint", { title: at(one.began) }, ` ${ago(one.began)}`),
                  ),
                ),
              ),
            )
          : null,
        (jobs.length ? card : sheet)(
          ...(jobs.length ? ["Deeds", null] : ["Deeds"]),
          found.length
            ? table(
                "Deeds",
                [
                  ["What", one => h("b", one.what)],
                  [
                    "Of what",
                    one => h("div.two-lines", ON_RUNS.test(one.what) ? runLink(one.target) : h("span.id", one.target)),
                    "whole",
                    one => one.target,
                  ],
                  ["Details", one => (one.detail ? fold(one.detail) : "–"), "mute wide"],
                  ["Who", one => h("div.two-lines", one.who), "whole", one => one.who],
                  ["By", one => one.via, "mute"],
                  ["When", one => ago(one.at), "r mute", one => at(one.at)],
                ],
                found,
                one => String(one.number),
                { some: false },
              )
            : empty("Nothing was done yet."),
          next ? empty(h("a.link", { href: `/deeds?after=${next}` }, "Older ones")) : null,
        ),
      ),
    );
  }
  return {
    refresh,
    readdress(q) {
      asked = q;
      return refresh();
    },
  };
}

export function job({ main, given, title, again }) {
  let look = null,
    left = false;
  async function refresh() {
    const one = await get(`/jobs/${given}`);
    if (left) return;
    clearTimeout(look);
    if (!one.ended) look = setTimeout(again, UNDER_WAY);
    title(`${one.outcome} ${one.command}`);
    const lasted = ((one.ended ? Date.parse(one.ended) : Date.now()) - Date.parse(one.began)) / 1000;
    const facts = [
      ["Started", at(one.began)],
      [one.ended ? "Took" : "So far", took(lasted)],
      one.exit_code == null ? null : ["Exit code", n(one.exit_code)],
      one.about ? ["Run", runLink(one.about)] : null,
    ].filter(Boolean);
    patch(
      main,
      h(
        "div.top",
        h(
          "div.grow",
          h("nav.crumbs", { "aria-label": "Breadcrumb" }, h("a", { href: "/deeds" }, "Deeds")),
          h("h1", "Command"),
          h(
            "div.sub",
            pill(ENDS[one.outcome] || "failed", one.outcome),
            one.ended ? null : h("span", "it goes on without this page too"),
          ),
        ),
      ),
      h(
        "div.stack",
        sheet("Facts", pairs(facts), h("div.pad14", command(one.command))),
        card(
          "What it prints",
          null,
          one.output
            ? h("pre.codex.log.wrap", { tabindex: 0, role: "log", "aria-label": "what it prints" }, one.output)
            : empty(one.ended ? "Nothing." : "Nothing yet."),
        ),
      ),
    );
  }
  return {
    refresh,
    leave() {
      left = true;
      clearTimeout(look);
    },
  };
}

/** The buttons for letters: `told` says in commands which, `how` in requests to addresses that end in `path`. */
function redriveAndDrop(go, count, rows, told, path, how, text, most) {
  const scripts = [...new Set(rows.map(x => x.script))],
    these = many(count, "dead letter"),
    ask = (verb, tone, said, body, more) => [
      `${verb}${text}…`,
      tone === "danger" || !text ? tone : "",
      () =>
        start(
          go,
          `${verb} ${these}?`,
          said,
          `perdure dlq ${verb.toLowerCase()} ${told}`,
          verb,
          tone,
          `/letters/${verb.toLowerCase()}${path}`,
          body,
          more,
        ),
    ];
  return [
    ask(
      "Redrive",
      "primary",
      `Each call is executed again, with its edited input if it has one, by ${scripts.join(", ")}. What succeeds is resolved; what fails stays parked.`,
      { ...how, scripts },
      pace(most),
    ),
    ask("Drop", "danger", "Nothing is executed. They stay listed, and are not tried again.", how),
  ];
}
/** The buttons for all letters that match; none, if how many they are is not known. `rows` are some of them. */
export function matchingActs(go, matching, count, rows) {
  if (count == null) return [];
  const told =
    Object.entries(matching)
      .map(([k, v]) => `--${k} ${quoted(v)}`)
      .join(" ") || "--all";
  const how = { matching: { ...matching, count } };
  return redriveAndDrop(go, count, rows, `${told} --if-count ${count}`, "-matching", how, " all", 4);
}
/** The buttons for letters: `rows` are those of a listing. */
export function letterActs(go, rows) {
  const letters = rows.map(x => x.letter.letter).sort((a, b) => a - b);
  return redriveAndDrop(go, letters.length, rows, letters.join(" "), "", { letters }, "", 1);
}

/** The buttons that answer what a run asks. */
export const answers = (run, title) =>
  server.read_only
    ? null
    : [
        ["approve", "Approve", "primary"],
        ["reject", "Reject", "danger"],
      ].map(([verb, text, tone]) =>
        button(
          `${text}…`,
          tone,
          () =>
            confirm(
              `${text}: ${title}`,
              "The answer is written at once, and only once; the run goes on with it where a process or a worker has it, else when it is resumed.",
              `perdure ${verb} ${quoted(run)}`,
              text,
              tone,
              note => act("POST", `/runs/${seg(run)}/${verb}`, { note, title }),
            ),
          `${text}: ${title}`,
        ),
      );
