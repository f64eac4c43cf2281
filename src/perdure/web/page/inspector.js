// What is known of one call: its attempts, what it was given, what came out, where it failed.

import { seg } from "./api.js";
import { command, copy, h, long, mark, pill } from "./dom.js";
import { at, dur, many, quoted, took } from "./words.js";

const LONG = 65536;

/** Plain data as JSON, with marks for the eye. */
export function json(value, name = "value") {
  const box = h("div", { class: "json", tabindex: 0, role: "region", "aria-label": name });
  let left = LONG;
  const say = (text, kind) => {
    if (left <= 0) return;
    const shown = text.length > left ? `${text.slice(0, left)} …` : text;
    left -= text.length;
    box.append(kind ? h("span", { class: kind }, shown) : shown);
  };
  const walk = (x, pad) => {
    if (left <= 0) return;
    if (x === null) say("null");
    else if (typeof x === "string") say(JSON.stringify(x), "s");
    else if (typeof x !== "object") say(String(x), "n");
    else {
      const list = Array.isArray(x),
        entries = Object.entries(x);
      say(list ? "[" : "{");
      entries.forEach(([k, y], i) => {
        say(`\n${pad}  `);
        if (!list) {
          say(k, "k");
          say(": ");
        }
        walk(y, `${pad}  `);
        if (i < entries.length - 1) say(",");
      });
      if (entries.length) say(`\n${pad}`);
      say(list ? "]" : "}");
    }
  };
  walk(value, "");
  if (left <= 0) box.append(h("p", { class: "faint" }, "… only the beginning is shown"));
  return box;
}
export const error = one =>
  h(
    "div",
    { class: "errbox" },
    h("b", {}, one.type),
    h("p", {}, long(one.message, 1200)),
    one.notes?.length
      ? h(
          "ul",
          {},
          one.notes.map(x => h("li", {}, long(x))),
        )
      : null,
  );
export const trace = text =>
  text
    ? h(
        "details",
        {},
        h("summary", {}, "Traceback"),
        h("pre", { class: "codex", tabindex: 0, role: "region", "aria-label": "traceback" }, text),
      )
    : null;
const verdict = v =>
  v
    ? h(
        "span",
        { class: "faint" },
        v.code && v.confidence !== "possible" ? `${v.kind}, ${v.code}` : v.kind,
        v.retry_after ? `, asked to wait ${took(v.retry_after)}` : "",
      )
    : null;

/** The attempts of a call: those that failed, and the last one. They count anew when a run that had failed is resumed. */
export function attempts(failures, last) {
  const out = [];
  failures.forEach((f, i) => {
    const before = failures[i - 1];
    if (before) out.push(pause(before, f.started, f.epoch !== before.epoch));
    out.push(
      h(
        "div",
        { class: "att" },
        mark("failed", 13),
        h("span", {}, h("b", {}, `Attempt ${f.number || i + 1}`), h("span", { class: "t" }, ` ${at(f.started)}`)),
        h("span", { class: "t" }, took(f.seconds)),
        h("p", {}, long(`${f.error.type}: ${f.error.message.split("\n")[0]} `), verdict(f.verdict)),
      ),
    );
  });
  if (last) {
    if (failures.length) out.push(pause(failures.at(-1), last.started, last.attempts === 1));
    out.push(
      h(
        "div",
        { class: "att" },
        mark(last.status, 13),
        h("span", {}, h("b", {}, `Attempt ${last.attempts}`), h("span", { class: "t" }, ` ${at(last.started)}`)),
        h("span", { class: "t" }, took(last.seconds)),
      ),
    );
  }
  return out;
}
const pause = (before, next, resumed) => {
  const gap = Date.parse(next) - Date.parse(before.started) - before.seconds * 1000;
  return gap > 1
    ? h(
        "div",
        { class: "waitline" },
        h("i"),
        `${dur(gap)} between${resumed ? ": the run was resumed" : before.verdict?.kind === "throttled" ? ": the service asked for fewer calls" : ""}`,
      )
    : null;
};
const section = (title, side, ...rest) => h("section", {}, h("h3", {}, title, side), rest);

/** The source around the line that is meant. */
export const excerpt = (one, failed = true) =>
  one.lines.length
    ? h(
        "div",
        { class: "codex", tabindex: 0, role: "region", "aria-label": "source" },
        one.lines.map((text, i) =>
          h(
            "div",
            { class: one.first + i === one.line ? (failed ? "hit" : "sel") : null },
            h("i", {}, one.first + i),
            text,
          ),
        ),
      )
    : h("p", { class: "mute" }, `No excerpt: ${one.note}.`);
/** What a call was given, by name where its parameters are known. */
export const named = (data, names) =>
  Array.isArray(data) && data.length && data.length <= names.length
    ? Object.fromEntries(data.map((x, i) => [names[i], x]))
    : data;

/** @param {Object} step a step in full @param {Object} call what is known of the call besides @param {string} run its id @param {Object} log what it has logged and printed @param {Element|null} fork a button */
export function inspector(step, call, run, log, close, fork) {
  const own = step.failures,
    ended = step.status === "done" || (own.length ? Date.parse(own.at(-1).started) < Date.parse(step.started) : true);
  const all = own.length + (ended ? 1 : 0), // since the run began; a record counts those since it was resumed
    earlier = Math.max(0, all - step.attempts),
    waited = Object.entries(step.waits),
    source = call.excerpt,
    inputs = named(step.inputs, call.parameters),
    last = step.error || own.at(-1)?.error;
  return [
    h(
      "header",
      {},
      mark(step.status, 15),
      h("h2", { class: "clip" }, step.name),
      h("span", { class: "grow" }),
      h("span", { class: "faint num" }, `#${step.seq}`),
      h("button", { class: "btn small", type: "button", "aria-label": "Close", on: { click: close } }, "×"),
    ),
    h(
      "div",
      { class: "body" },
      step.letter
        ? h(
            "div",
            { class: "acts" },
            h("a", { class: "btn small primary", href: `/dead/${step.letter}` }, `Dead letter ${step.letter}`),
            pill("dead", step.standing),
          )
        : null,
      step.error ? error(step.error) : null,
      section(
        many(Math.max(step.attempts, 1), "attempt"),
        h(
          "span",
          { class: "faint" },
          `${earlier ? `${earlier} before the run was resumed; ` : ""}last took ${took(step.seconds)}`,
        ),
        attempts(own, ended ? step : null),
        waited.length
          ? h("p", { class: "mute" }, `waited ${waited.map(([k, x]) => `${took(x)} for ${k}`).join(", ")}`)
          : null,
      ),
      call.child
        ? section("Child run", null, h("a", { class: "link id", href: `/runs/${seg(call.child)}` }, call.child))
        : null,
      section(
        "Input",
        h(
          "button",
          { class: "btn small", type: "button", on: { click: () => copy(JSON.stringify(step.inputs)) } },
          "Copy JSON",
        ),
        json(inputs, "Input"),
      ),
      step.status === "done"
        ? section(
            "Result",
            h(
              "button",
              { class: "btn small", type: "button", on: { click: () => copy(JSON.stringify(step.result)) } },
              "Copy JSON",
            ),
            json(step.result, "Result"),
          )
        : null,
      log.lines.length
        ? section(
            "Log",
            log.earlier ? h("span", { class: "faint" }, "the last lines") : null,
            h(
              "pre",
              { class: "codex", tabindex: 0, role: "region", "aria-label": "what it logged and printed" },
              log.lines.map(
                x =>
                  `${at(x.at)} ${all > 1 ? `#${x.attempt} ` : ""}${x.level ? `${x.level} ${x.logger}: ` : ""}${x.text}\n`,
              ),
            ),
          )
        : null,
      last?.traceback ? trace(last.traceback) : null,
      source
        ? section(
            "Code",
            h(
              "span",
              { class: "faint mono clip", title: source.file },
              `${source.file.split("/").at(-1)}:${source.line} in ${source.function}`,
            ),
            excerpt(source, step.status !== "done"),
          )
        : null,
      section("Idempotency key", null, command(call.idempotency_key)),
      section("In a terminal", null, command(`perdure show ${quoted(run)} --step ${quoted(step.name)}`)),
      fork ? h("div", { class: "acts" }, fork) : null,
    ),
  ];
}
