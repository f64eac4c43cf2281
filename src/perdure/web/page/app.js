// The frame around the views, and which view an address is.

// In this order the script that is made of all modules packs best.
import { button, coded, h, heading, mark, patch, region, ROOT, sheet } from "./dom.js";
import { doctor } from "./doctor.js";
import { run } from "./run.js";
import { deeds, job } from "./deeds.js";
import { dead } from "./dead.js";
import { n } from "./words.js";
import { exchange, get, LEAST, listen, MOST, Problem, server, signIn } from "./api.js";
import { waits } from "./waits.js";
import { search } from "./search.js";
import { overview } from "./overview.js";
import { alerts } from "./alerts.js";
import { services } from "./services.js";
import { schedules } from "./schedules.js";
import { runs } from "./runs.js";
import { hear, NAV } from "./keys.js";

// A view: its address, what shows it, its title.
/** @type {[RegExp, Function, string][]} */
const VIEWS = [
  [/^\/$/, overview, "Overview"],
  [/^\/runs$/, runs, "Runs"],
  [/^\/runs\/([^/]+)$/, run, "Run"],
  [/^\/dead(?:\/(\d+))?$/, dead, "Dead letters"],
  [/^\/services$/, services, "Services"],
  [/^\/schedules$/, schedules, "Schedules"],
  [/^\/waits$/, waits, "Queues and waits"],
  [/^\/alerts$/, alerts, "Alerts"],
  [/^\/doctor$/, doctor, "Doctor"],
  [/^\/deeds$/, deeds, "Deeds"],
  [/^\/jobs\/([0-9a-f]+)$/, job, "Command"],
  [/^\/search$/, search, "Search"],
];
/** Where we are, below the root. */
const path = () => location.pathname.slice(ROOT.length) || "/";
let counts = null,
  shown = null,
  state = "live",
  number = 0;

// -- frame ----------------------------------------------------------------------------------------------------------------
const trouble = h("div");
let content = h("div");
const main = h("main", { id: "main", tabindex: -1 }, trouble, content);
const side = h("aside.side", { "aria-label": "Navigation" });
function frame() {
  const folder = server.state.split("/").slice(0, -1),
    home = folder.at(-1) === ".perdure" ? folder.at(-2) : folder.at(-1);
  const item = ([href, icon, text]) => {
    const here = href === "/" ? path() === "/" : path().startsWith(href),
      c = counts?.[href];
    return h(
      "a",
      { href, "aria-current": here ? "page" : null, title: text },
      mark(icon, 14, true),
      h("span.t", text),
      c?.text ? h("span", { class: `n ${c.tone || ""}` }, c.text) : null,
    );
  };
  patch(
    side,
    h(
      "a.brand",
      { href: "/", "aria-label": "perdure, overview" },
      h("img", { src: `${ROOT}/assets/icon.svg`, alt: "", width: 18, height: 18 }),
      h("span.t", "perdure"),
    ),
    server.state
      ? h("div.where", { title: server.state }, h("b.clip", home || "/"), h("span.clip", server.state))
      : null,
    h("nav", { "aria-label": "Views" }, NAV.map(item)),
    h(
      "div.foot",
      h(
        "span",
        { class: `live ${state}`, role: "status" },
        { live: "live", lost: "the connection is lost; trying again", paused: "paused" }[state],
      ),
      server.perdure ? h("span", `perdure ${server.perdure}${server.read_only ? " · read-only" : ""}`) : null,
      h("span", h("kbd", "?"), " keys   ", h("kbd", "/"), " search"),
    ),
  );
}
/** What the frame says besides: counts beside the views. */
export function note(found) {
  const all = Object.values(found.totals).reduce((a, b) => a + b, 0),
    open = found.services.filter(x => x.state === "open" || x.state === "isolated").length;
  counts = {
    "/": { text: found.needs.length ? n(found.needs.length + found.more_needs) : "", tone: "warn" },
    "/runs": { text: all ? `${n(all)}${found.more_totals.length ? "+" : ""}` : "" },
    "/dead": { text: found.letters ? n(found.letters) : "", tone: "bad" },
    "/services": { text: open ? `${open} open` : "", tone: "warn" },
  };
  frame();
}

// -- views ----------------------------------------------------------------------------------------------------------------
/** Go to an address. `replace`: it takes the place of this one in the history. */
export function go(address, replace = false) {
  history[replace ? "replaceState" : "pushState"](null, "", ROOT + address);
  show();
}
async function show() {
  const [pattern, made, title] = VIEWS.find(([p]) => p.test(path())) || VIEWS[0];
  const mine = ++number,
    given = pattern.exec(path())?.[1],
    query = new URLSearchParams(location.search);
  const view = query.has("json")
    ? raw(
        path()
          .replace(/^\/$/, "/overview")
          .replace(/^\/dead/, "/letters"),
      )
    : made;
  if (shown?.view === view && (shown.given === given || shown.here.about === given || view === dead)) {
    shown.given = given;
    frame();
    return load(() => (shown.here.readdress || shown.here.refresh)(query, given));
  }
  shown?.here.leave?.();
  for (const dialog of document.querySelectorAll("dialog")) dialog.close();
  // A view has an element of its own: an answer that comes when it was left is shown nowhere.
  const box = (content = h("div")),
    isSeen = () => content === box;
  patch(trouble);
  main.replaceChildren(trouble, content);
  if (!main.contains(document.activeElement)) main.focus({ preventScroll: true });
  const here = view({
    main: content,
    given: given && decodeURIComponent(given).replace(/^\0/, ""),
    query,
    go,
    note,
    again: () => isSeen() && load(),
    failed: error => isSeen() && failed(error),
    title: t => {
      if (isSeen()) document.title = `${t} · perdure`;
    },
  });
  shown = { view, given, here };
  document.title = `${title} · perdure`;
  const done = load(); // the question is on its way while the frame is drawn
  frame();
  scrollTo(0, 0);
  await done;
  if (mine !== number) return;
  follow ||= listen(changed, now => {
    state = now;
    frame();
  });
  follow(here.about || null);
}
function raw(address) {
  return ({ main, query }) => ({
    async refresh() {
      const given = Object.fromEntries([...query].filter(([k]) => !["json", "step", "t", "show"].includes(k)));
      if (address === "/letters" && given.q) {
        given.error = given.q;
        delete given.q;
      }
      patch(
        main,
        heading(`/api/v1${address}`),
        sheet("Answer", region("pre.codex", "JSON", JSON.stringify(await get(address, given), null, 2))),
      );
    },
  });
}

// -- asking, until it is answered ---------------------------------------------------------------------------------------
let later = 0,
  wait = LEAST;
/** Show what there is now, or what `ask` says. What fails is said where it can be seen, and tried again. */
async function load(ask = () => shown?.here.refresh()) {
  const mine = number;
  clearTimeout(later);
  later = 0;
  try {
    await ask();
  } catch (error) {
    if (mine === number) failed(error);
    return;
  }
  if (mine !== number || later) return; // a part of it has failed meanwhile
  wait = LEAST;
  patch(trouble);
  content.classList.remove("away");
  frame();
  count();
}
/** Ask for the counts beside the views, if no view has. */
function count() {
  if (!counts) get("/overview").then(note, error => error.passes && failed(error));
}
/** Say that something of what is shown cannot be had; what may come a moment later is asked for again. */
function failed(error) {
  if (error.name === "AbortError" || error.status === 401 || !shown) return;
  const passes = error instanceof Problem ? error.passes : false;
  if (!(error instanceof Problem)) console.error(error);
  if (passes && !later) {
    later = setTimeout(() => {
      later = 0;
      if (!document.hidden) load(); // who comes back to the page sees all of it anew
    }, wait);
    wait = Math.min(2 * wait, MOST);
  }
  const again = passes ? "Trying again." : null,
    now = button("Try now", "", () => load());
  if (!passes && path() !== "/") count();
  const seen = passes && content.querySelector("h1"); // of what is shown, a part is as good as it was
  content.classList.toggle("away", !seen);
  if (!seen && content.contains(document.activeElement)) main.focus();
  if (seen)
    patch(trouble, h("p.trouble", { role: "alert" }, h("b", error.message), "What is shown may be old. ", again, now));
  else
    patch(
      trouble,
      heading("This cannot be shown"),
      h(
        "section.card.pad14",
        { role: "alert" },
        h("p", h("b", error.message)),
        error.hint || again ? h("p.mute", coded(error.hint), " ", again) : null,
        h("p.acts", passes ? now : null, path() === "/" ? null : h("a.btn.small", { href: "/" }, "Overview")),
      ),
    );
}
let due = null,
  missed = false;
/** Something has changed: at most once a second it is asked for, and never two at a time. */
function changed(change) {
  if (change && shown?.here.skips?.(change)) return;
  missed = true;
  due ||= setTimeout(async () => {
    missed = false;
    await load();
    due = null;
    if (missed) changed(null);
  }, 700);
}

// -- links ----------------------------------------------------------------------------------------------------------------------
addEventListener("click", e => {
  const link = /** @type {Element} */ (e.target).closest?.("a[href]"),
    href = link?.getAttribute("href");
  if (!href || href[0] === "#" || link.hasAttribute("target")) return;
  if (e.defaultPrevented || e.button || e.ctrlKey || e.metaKey || e.shiftKey) return;
  const to = new URL(href, location.href);
  if (to.origin !== location.origin || !`${to.pathname}/`.startsWith(`${ROOT}/`)) return;
  e.preventDefault();
  go(to.pathname.slice(ROOT.length) + to.search);
});
hear(go, main);
addEventListener("popstate", show);
addEventListener("hashchange", begin);

// -- beginning ------------------------------------------------------------------------------------------------------------
function askForCode(why = "") {
  shown = null;
  number++;
  clearTimeout(later);
  const field = h("input", { id: "code", autocomplete: "off", spellcheck: "false" }),
    said = h("p.err", { role: "alert" }, why);
  const submit = async e => {
    e.preventDefault();
    try {
      await exchange(field.value.trim().split("#").at(-1));
      show();
    } catch (error) {
      patch(said, error.message);
    }
  };
  const form = h(
    "form.card.pad14.signin",
    { on: { submit } },
    h("h1", "perdure ui"),
    h(
      "p.mute",
      "This page needs a link that is good once. Press Enter in the terminal where ",
      h("code", "perdure ui"),
      " runs, or run it again, and open the link that it prints.",
    ),
    h("label", { for: "code" }, "Or paste the link, or the code behind its #"),
    h("div.acts", field, h("button.btn.primary", "Go on")),
    said,
  );
  patch(side);
  patch(trouble);
  content = h("div", form);
  main.replaceChildren(trouble, content);
  field.focus();
}
addEventListener("signed-out", () => askForCode());
let follow = null;
async function begin() {
  try {
    if (await signIn()) show();
    else askForCode();
  } catch (error) {
    askForCode(error.message);
  }
}
document.body.append(
  h(
    "a.skip",
    {
      href: "#main",
      on: {
        click: e => {
          e.preventDefault();
          main.focus();
        },
      },
    },
    "Skip to the content",
  ),
  h("div.app", side, main),
  h("div", { id: "said", role: "status", "aria-live": "polite" }),
);
begin();
