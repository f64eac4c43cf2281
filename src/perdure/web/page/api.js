// The API, and the token that it needs: it stands in no address, and lives as long as the tab.

import { ROOT } from "./dom.js";

const KEPT = "perdure-token";
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

export class Problem extends Error {
  constructor(status, body) {
    super(body.title || `the server answers ${status}`);
    this.status = status;
    this.code = body.code || "";
    this.hint = body.hint || "";
  }
}

/** Get the token: by the code in the address, which is erased, or from another tab. @returns {Promise<boolean>} */
export async function signIn() {
  const code = location.hash.slice(1);
  if (code) {
    history.replaceState(null, "", location.pathname + location.search);
    if (await exchange(code)) return true;
  }
  if (token) return true;
  tabs?.postMessage({ ask: true });
  for (let i = 0; i < 10 && !token; i++) await new Promise(r => setTimeout(r, 40));
  return Boolean(token);
}
export async function exchange(code) {
  const answer = await fetch(`${ROOT}/api/v1/session`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ code }),
  });
  if (!answer.ok) return false;
  keep((await answer.json()).token);
  return true;
}
export function forget() {
  token = null;
  sessionStorage.removeItem(KEPT);
}

async function ask(path, options = {}) {
  const answer = await fetch(`${ROOT}/api/v1${path}`, {
    ...options,
    headers: { ...options.headers, Authorization: `Bearer ${token}` },
  });
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => ({}));
  if (answer.status === 401) {
    forget();
    dispatchEvent(new Event("signed-out"));
  }
  throw new Problem(answer.status, body);
}
/** Ask the API. @param {string} path @param {Object} [query] what is null or empty is left out */
export async function get(path, query = {}, signal = undefined) {
  const given = Object.entries(query).filter(([, v]) => v != null && v !== "");
  const answer = await ask(path + (given.length ? `?${new URLSearchParams(given)}` : ""), { signal });
  if (path !== "/") await known;
  return answer.json();
}
/** Save what is exported as a file. The token goes along, so a link would not do. */
export async function download(what, query = {}) {
  const url = URL.createObjectURL(await (await ask(`/export?${new URLSearchParams({ what, ...query })}`)).blob());
  const link = document.createElement("a");
  link.href = url;
  link.download = `${what}.jsonl`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}
/** Do something. Sent again with the same key, it is done once. */
export async function act(method, path, body, key = crypto.randomUUID()) {
  return (
    await ask(path, {
      method,
      headers: { "Content-Type": "application/json", "Idempotency-Key": key },
      body: JSON.stringify(body),
    })
  ).json();
}
/** A name as a part of an address. Browsers take one of dots alone for a way up. */
export const seg = name => (/^\.\.?$/.test(name) ? "%00" : "") + encodeURIComponent(name);
/** What the server says of itself. No answer is shown before that is known; it is asked for beside the first one. */
export const server = { read_only: true };
let known = null;
export function introduce() {
  known = get("/").then(about => Object.assign(server, about));
  known.catch(() => {});
  return known;
}

/** Listen for changes, for as long as the page is seen. `changed` gets each (null: some may have been missed), `said` how the connection stands. */
export function listen(changed, said) {
  let control = null,
    wait = 500,
    run = null;
  /** `before` is a connection that this one takes the place of: it stays until this one has begun, so that nothing is missed. */
  async function connect(before = null) {
    if (control !== before || document.hidden || !token) return;
    const mine = (control = new AbortController());
    try {
      const reader = (await ask(`/events${run ? `?run=${seg(run)}` : ""}`, { signal: mine.signal })).body
        .pipeThrough(new TextDecoderStream())
        .getReader();
      said("live");
      let rest = "",
        begun = false;
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        wait = 500;
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
      if (error instanceof Problem && error.status === 401) {
        control = null;
        return;
      }
    }
    before?.abort();
    if (control !== mine) return; // another one has taken its place
    control = null;
    if (document.hidden) return;
    lost = true;
    said("lost");
    setTimeout(connect, wait);
    wait = Math.min(wait * 2, 15000);
  }
  let lost = false;
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
    if (about !== run) {
      run = about;
      if (control) connect(control);
    }
  };
}
