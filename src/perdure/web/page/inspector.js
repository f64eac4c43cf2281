// What is known of one call: its attempts, what it was given, what came out, where it failed.

import { seg } from "./api.js";
import { button, command, copy, h, fold, mark, pill, region } from "./dom.js";
import { at, dur, many, quoted, took } from "./words.js";

const LONG = 65536;

/** Plain data as JSON, with marks for the eye. */
export function json(value, name = "value") {
  const box = region("div.json", name);
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
  if (left <= 0) box.append(h("p.faint", "… only the beginning is shown"));
  return box;
}
export const error = one =>
  h(
    "div.errbox",
    h("b", one.type),
    h("p", fold(one.message, 1200)),
    one.notes?.length
      ? h(
          "ul",
          one.notes.map(x => h("li", fold(x, 320))),
        )
      : null,
  );
export const trace = text =>
  text ? h("details", h("summary", "Traceback"), region("pre.codex", "traceback", text)) : null;
const verdict = v =>
  v
    ? h(
        "span.faint",
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
        "div.att",
        mark("failed", 13),
        h("span", h("b", `Attempt ${f.number || i + 1}`), h("span.t", ` ${at(f.started)}`)),
        h("span.t", took(f.seconds)),
        h("p", fold(`${f.error.type}: ${f.error.message.split("\n")[0]} `, 320), verdict(f.verdict)),
      ),
    );
  });
  if (last) {
    if (failures.length) out.push(pause(failures.at(-1), last.started, last.attempts === 1));
    out.push(
      h(
        "div.att",
        mark(last.status, 13),
        h("span", h("b", `Attempt ${last.attempts}`), h("span.t", ` ${at(last.started)}`)),
        h("span.t", took(last.seconds)),
      ),
    );
  }
  return out;
}
const pause = (before, next, resumed) => {
  const gap = Date.parse(next) - Date.parse(before.started) - before.seconds * 1000;
  return gap > 1
    ? h(
        "div.waitline",
        `${dur(gap)} between${resumed ? ": the run was resumed" : before.verdict?.kind === "throttled" ? ": the service asked for fewer calls" : ""}`,
      )
    : null;
};
const copied = value => button("Copy JSON", "", () => copy(JSON.stringify(value)));
const section = (title, side, ...rest) => h("section", h("h3", title, side), rest);

/** Where a file was left: its name, the line and the function. */
export const place = one =>
  h("span.faint.mono.clip", { title: one.file }, `${one.file.split("/").at(-1)}:${one.line} in ${one.function}`);
/** The source around the line that is meant. */
export const excerpt = (one, failed = true) =>
  one.lines.length
    ? region(
        "div.codex",
        "source",
        one.lines.map((text, i) =>
          h(
            "div",
            { class: one.first + i === one.line ? (failed ? "hit" : "sel") : null },
            h("i", one.first + i),
            text,
          ),
        ),
      )
    : h("p.mute", `No excerpt: ${one.note}.`);
/** What a call was given, by name where its parameters are known. */
export const named = (data, names) =>
  Array.isArray(data) && data.length && data.length <= names.length
    ? Object.fromEntries(data.map((x, i) => [names[i], x]))
    : data;

/** @param {Object} step a step in full @param {Object} call what is known of the call besides @param {string} run its id @param {Object} log what it has logged and printed @param {Element|null} fork a button */
export function inspector(step, call, run, log, close, fork) {
  const own = step.failures,
    ended = step.started && !(step.status !== "done" && Date.parse(own.at(-1)?.started) >= Date.parse(step.started));
  const all = own.length + (ended ? 1 : 0), // since the run began; a record counts those since it was resumed
    earlier = Math.max(0, all - step.attempts),
    waited = Object.entries(step.waits),
    source = call.excerpt,
    inputs = named(step.inputs, call.parameters),
    last = step.error || own.at(-1)?.error;
  return [
    h(
      "header",
      mark(step.status, 15),
      h("h2.clip.grow", step.name),
      h("span.faint.num", `#${step.seq}`),
      button("×", "", close, "Close"),
    ),
    h(
      "div.body",
      step.letter
        ? h(
            "div.acts",
            h("a.btn.small.primary", { href: `/dead/${step.letter}` }, `Dead letter ${step.letter}`),
            pill("dead", step.standing),
          )
        : null,
      step.error ? error(step.error) : null,
      section(
        many(step.attempts, "attempt"),
        all
          ? h(
              "span.faint",
              `${earlier ? `${earlier} before the run was resumed; ` : ""}last took ${took(step.seconds)}`,
            )
          : null,
        attempts(own, ended ? step : null),
        waited.length ? h("p.mute", `waited ${waited.map(([k, x]) => `${took(x)} for ${k}`).join(", ")}`) : null,
      ),
      call.child ? section("Child run", null, h("a.link.id", { href: `/runs/${seg(call.child)}` }, call.child)) : null,
      section("Input", copied(step.inputs), json(inputs, "Input")),
      step.status === "done" ? section("Result", copied(step.result), json(step.result, "Result")) : null,
      log.lines.length
        ? section(
            "Log",
            log.earlier ? h("span.faint", "the last lines") : null,
            region(
              "pre.codex",
              "what it logged and printed",
              log.lines.map(
                x =>
                  `${at(x.at)} ${all > 1 ? `#${x.attempt} ` : ""}${x.level ? `${x.level} ${x.logger}: ` : ""}${x.text}\n`,
              ),
            ),
          )
        : null,
      last?.traceback ? trace(last.traceback) : null,
      source ? section("Code", place(source), excerpt(source, step.status !== "done")) : null,
      section("Idempotency key", null, command(call.idempotency_key)),
      section("In a terminal", null, command(`perdure show ${quoted(run)} --step ${quoted(step.name)}`)),
      fork ? h("div.acts", fork) : null,
    ),
  ];
}
