// The API, and the token that it needs: it stands in no address, and lives as long as the tab.

import { ROOT } from "./dom.js";

const KEPT = "perdure-token";
/** Milliseconds until what failed is tried again: the first time, and after many times. */
export const LEAST = 500,
  MOST = 15000;
const SILENCE = 50000; // milliseconds without a sign of a server that sends one each 20 s: the connection is lost

const tabs = "BroadcastChannel" in window ? new BroadcastChannel("perdure-ui") : null;
let token = sessionStorage.getItem(KEPT);
tabs?.addEventListener("message", e => {
  if (e.data?.ask && token) tabs.postMessage({ token });
  else if (e.data?.token && !token) keep(e.data.token);
});
function keep(given) {
  token = given;
  sessionStorage.setItem(KEPT, given);
}

/** What the API refuses, or why it cannot be asked (status 0). */
export class Problem extends Error {
  /** @param {number} status @param {{title?: string, code?: string, hint?: string}} body */
  constructor(status, body) {
    super(body.title || `the server answers ${status}`);
    this.status = status;
    this.code = body.code || "";
    this.hint = body.hint || "";
  }
  /** May the same be answered a moment later? */
  get passes() {
    return !this.status || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}
const passes = error => error instanceof Problem && error.passes;
/** An answer, or nothing where the API has none; what may be answered a moment later is an error. @param {Promise<any>} answer */
export const ifAny = answer =>
  answer.catch(error => {
    if (error instanceof Problem && !error.passes) return null;
    throw error;
  });
/** Ask until there is an answer; `failed` hears of each time that there is none yet. @param {() => Promise<any>} question */
export async function patiently(question, failed) {
  for (let wait = LEAST; ; wait = Math.min(2 * wait, MOST)) {
    try {
      return await question();
    } catch (error) {
      if (!passes(error)) throw error;
      failed(error);
    }
    await new Promise(r => setTimeout(r, wait));
  }
}

/** Get the token: by the code in the address, which is erased, or from another tab. @returns {Promise<boolean>} */
export async function signIn() {
  const code = location.hash.slice(1);
  let refused = null;
  if (code) {
    history.replaceState(null, "", location.pathname + location.search);
    await exchange(code).catch(error => {
      refused = error;
    });
  }
  if (token) return true;
  tabs?.postMessage({ ask: true });
  for (let i = 0; i < 10 && !token; i++) await new Promise(r => setTimeout(r, 40));
  if (refused && !token) throw refused;
  return Boolean(token);
}
export async function exchange(code) {
  const options = { method: "POST", headers: JSON_BODY, body: JSON.stringify({ code }) };
  keep((await (await send("/session", options)).json()).token);
}
export function forget() {
  token = null;
  sessionStorage.removeItem(KEPT);
}

const JSON_BODY = { "Content-Type": "application/json" };
/** @param {string} path @param {RequestInit} options */
async function send(path, options) {
  let answer;
  try {
    answer = await fetch(`${ROOT}/api/v1${path}`, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { title: "the server does not answer" });
  }
  if (answer.ok) return answer;
  throw new Problem(answer.status, await answer.json().catch(() => ({})));
}
async function ask(path, options = {}) {
  try {
    return await send(path, { ...options, headers: { ...options.headers, Authorization: `Bearer ${token}` } });
  } catch (error) {
    if (error.status === 401) {
      forget();
      dispatchEvent(new Event("signed-out"));
    }
    throw error;
  }
}
/** What came of an answer, as data. */
async function data(answer) {
  try {
    return await answer.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { title: "the server broke off its answer" });
  }
}
/** Ask the API. @param {string} path @param {Object} [query] what is null or empty is left out */
export async function get(path, query = {}, signal = undefined) {
  const given = Object.entries(query).filter(([, v]) => v != null && v !== "");
  const question = ask(path + (given.length ? `?${new URLSearchParams(given)}` : ""), { signal }).then(data);
  return (await Promise.all([question, introduction()]))[0];
}
/** Save what is exported as a file. The token goes along, so a link would not do. */
export async function download(what, query = {}) {
  const answer = await ask(`/export?${new URLSearchParams({ what, ...query })}`);
  const url = URL.createObjectURL(await answer.blob());
  const link = document.createElement("a");
  link.href = url;
  link.download = `${what}.jsonl`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}
/** Do something. Sent again with the same key, it is done once. */
export async function act(method, path, body, /** @type {string} */ key = crypto.randomUUID()) {
  return data(
    await ask(path, { method, headers: { ...JSON_BODY, "Idempotency-Key": key }, body: JSON.stringify(body) }),
  );
}
/** A name as a part of an address. Browsers take one of dots alone for a way up. */
export const seg = name => (/^\.\.?$/.test(name) ? "%00" : "") + encodeURIComponent(name);
/** What the server says of itself. No answer is shown before that is known; it is asked for beside the first one. */
export const server = { read_only: true, state: "", perdure: "" };
let known = null;
/** Until it has been answered, each question asks it again. */
function introduction() {
  known ||= ask("/")
    .then(data)
    .then(
      about => Object.assign(server, about),
      error => {
        known = null;
        throw error;
      },
    );
  return known;
}

/**
 * Listen for changes, for as long as the page is seen. `changed` gets each (null: some may have been missed), `said` how
 * the connection stands.
 */
export function listen(changed, said) {
  let control = null,
    wait = LEAST,
    run = null,
    lost = false;
  /** `before` is a connection that this one takes the place of: until this one has begun, so that nothing is missed. */
  async function connect(before = null) {
    if (control !== before || document.hidden || !token) return;
    const mine = (control = new AbortController());
    let silence = setTimeout(() => mine.abort(), SILENCE);
    try {
      const answer = await ask(`/events${run ? `?run=${encodeURIComponent(run)}` : ""}`, { signal: mine.signal });
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      said("live");
      let rest = "",
        begun = false;
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        clearTimeout(silence);
        silence = setTimeout(() => mine.abort(), SILENCE);
        wait = LEAST;
        rest += value;
        const parts = rest.split("\n\n");
        rest = parts.pop();
        for (const part of parts)
          if (part.startsWith("event: change")) {
            if (begun || lost) changed(lost ? null : JSON.parse(part.slice(part.indexOf("data: ") + 6)));
            begun = true;
            lost = false;
            before?.abort();
          }
      }
    } catch (error) {
      if (error.status === 401) control = null;
    }
    clearTimeout(silence);
    before?.abort();
    if (control !== mine) return; // another one has taken its place, or nobody is signed in
    control = null;
    if (document.hidden) return;
    lost = true;
    said("lost");
    setTimeout(connect, wait);
    wait = Math.min(wait * 2, MOST);
  }
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      control?.abort();
      control = null;
      said("paused");
    } else {
      lost = true;
      connect();
    }
  });
  connect();
  /** From now on what is recorded of that run is told (null: of none that nothing executes). */
  return about => {
    if (about === run && control) return;
    run = about;
    connect(control);
  };
}
